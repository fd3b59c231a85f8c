"""Steps that several candidates have in common: examples, documents, arms, training, a teacher."""

"""Fine-tuning: adapters, one step, the loop around it, and what survives a killed process."""

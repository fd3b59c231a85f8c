// A refused form leads to its field in error. Whoever has gone on to another field before the answer
// came stays there: else what is being typed would end in the field in error.
{
  const FIELDS = "input, textarea, [contenteditable=true]";
  const DRAWN_MS = 50; // what the server has said comes before the lead, and is drawn a little later
  let sentFrom = null; // the field in which Enter, which may send a form, was the last key
  const remember = (event) => (sentFrom = event.key === "Enter" ? event.target : null);
  document.addEventListener("keydown", remember, true);

  const hasGoneOn = () =>
    document.activeElement.matches(FIELDS) && document.activeElement !== sentFrom;

  const open = (field) => {
    for (let box = field; (box = box.parentElement?.closest("details")); ) box.open = true;
  };

  // The first field in error of the form that a button belongs to; none, where it was taken.
  window.leadToError = (button) =>
    setTimeout(() => {
      const form = getHtmlElement(button)?.closest(".card, .q-card");
      const wrong = form?.querySelector(".q-field--error, .bad[role=alert]:not(:empty)");
      if (!wrong) return;
      open(wrong);
      if (hasGoneOn()) return;
      wrong.scrollIntoView({ block: "center" });
      wrong.querySelector("input, textarea, [tabindex='0']")?.focus({ preventScroll: true });
    }, DRAWN_MS);

  // An element; an input takes the cursor by its own method, as what takes it is within.
  window.leadTo = (id, isInput) => {
    const field = getHtmlElement(id);
    if (!field) return;
    open(field);
    if (hasGoneOn()) return;
    field.scrollIntoView({ block: "center" });
    if (isInput) runMethod(id, "focus", []);
    else field.focus();
  };
}

// Leads to a field that tells an error, to what was made or to the next step. Whoever has gone on to
// another field meanwhile stays there: else what is being typed would end in the wrong one.
{
  const FIELDS = "input, textarea, [contenteditable=true]";
  const DRAWN_MS = 50; // what the server has said comes before the lead, and is drawn a little later
  let sentFrom = null; // the field in which the last key sent the form; who is still there waits

  const sends = ({ key, ctrlKey, metaKey, target, isComposing }) =>
    key === "Enter"
      ? ctrlKey || metaKey || (target.matches("input") && !isComposing)
      : key === "s" && (ctrlKey || metaKey); // saves, in an editor
  const heardKey = (event) => {
    if (event.target.matches(FIELDS)) sentFrom = sends(event) ? event.target : null;
  };
  document.addEventListener("keydown", heardKey, true);
  document.addEventListener("pointerdown", () => (sentFrom = null), true);

  const hasGoneOn = () =>
    document.activeElement.matches(FIELDS) && document.activeElement !== sentFrom;

  const unfold = (field) => {
    for (let box = field; (box = box.parentElement?.closest("details")); ) box.open = true;
  };

  // The first field in error of the form that a button belongs to; none, where it was taken.
  window.leadToError = (button) =>
    setTimeout(() => {
      const form = getHtmlElement(button)?.closest(".card, .q-card");
      const wrong = form?.querySelector(".q-field--error, .bad[role=alert]:not(:empty)");
      if (!wrong) return;
      unfold(wrong);
      if (hasGoneOn()) return;
      wrong.scrollIntoView({ block: "center" });
      wrong.querySelector("input, textarea, [tabindex='0']")?.focus({ preventScroll: true });
    }, DRAWN_MS);

  // An element; an input takes the cursor by its own method, as what takes it is within.
  window.leadTo = (id, isInput) => {
    const field = getHtmlElement(id);
    if (!field) return;
    unfold(field);
    if (hasGoneOn()) return;
    field.scrollIntoView({ block: "center" });
    if (isInput) runMethod(id, "focus", []);
    else field.focus();
  };
}

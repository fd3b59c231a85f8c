// "complete": offers settings in an editor, names it for screen readers, and follows the colours of
// the page. "mark": marks lines, and gives them tooltips.
async (action, id, ...given) => {
  const CM = await import("nicegui-codemirror");
  const found = () => getElement(id);
  const soon = () => new Promise((go) => setTimeout(go, 50));
  for (let tries = 0; !found() && tries < 1200; tries++) await soon();
  const element = found();
  if (!element) return;  // left already
  await element.editorPromise;
  if (action === "mark") {
    const [decorations, tooltips] = given;
    element.setDecorations(decorations);
    element.setLineTooltips(tooltips);
    return;
  }
  const [tree, label] = given;
  const settings = (names) => names.reduce((at, name) => at?.[name]?.settings, tree) ?? {};
  const sections = (state, number, column) => {  // that a line lies in, the outermost first
    const names = [];
    for (let n = number - 1; n >= 1 && column > 0; n--) {
      const key = state.doc.line(n).text.match(/^(\s*(?:- +)*)([\w.-]+):/);
      if (!key || key[1].length >= column) continue;
      names.unshift(key[2]);
      column = key[1].length;
    }
    return names;
  };
  const words = (values) => values.map((value) => ({ label: String(value), type: "constant" }));
  const offer = (context) => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const value = before.match(/^(\s*(?:- +)*)([\w.-]+): +(?:\[(?:[^\]]*, *)?)?([\w.-]*)$/);
    const key = before.match(/^(\s*)((?:- +)*)([\w.-]*)$/);
    if (!value && !key) return null;
    const typed = value ? value[3] : key[3];
    if (!typed && !context.explicit) return null;
    const from = context.pos - typed.length;
    if (value) {
      const within = settings(sections(context.state, line.number, value[1].length));
      const allowed = within[value[2]]?.values;
      return allowed ? { from, options: words(allowed) } : null;
    }
    const column = key[1].length + (key[2] ? 1 : 0);
    const names = sections(context.state, line.number, column);
    const list = settings(names.slice(0, -1))[names.at(-1)]?.values;
    if (key[2] && list) return { from, options: words(list) };
    const options = Object.entries(settings(names)).map(([name, one]) => (
      { label: name, type: "property", apply: name + (one.settings ? ":" : ": "), info: one.info }
    ));
    return { from, options };
  };
  element.editor.dispatch({ effects: CM.StateEffect.appendConfig.of([
    CM.EditorState.languageData.of(() => [{ autocomplete: offer }]),
    CM.EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
  ]) });
  const shade = () => {
    if (!element.editor.dom.isConnected) return watch.disconnect();
    element.setTheme(document.body.classList.contains("body--dark") ? "githubDark" : "githubLight");
  };
  const watch = new MutationObserver(shade);
  watch.observe(document.body, { attributeFilter: ["class"] });
  shade();
}

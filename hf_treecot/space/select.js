// Tells the app what was selected. A choice that is made before the last one was answered waits, and Gradio then sends
// the data of the choice before it once more: so there is one object, which holds the last choice whenever it is sent.
globalThis.treecotSelect = (trigger) => {
  const chosen = {};
  return (data) => trigger("select", Object.assign(chosen, data));
};

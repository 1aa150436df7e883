// Browsers don't start workers from files. For pages opened from a folder, run the search in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const scope = frame.contentWindow;
      scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.postMessage = (data) => ready.then(() => scope.dispatchEvent(new MessageEvent("message", { data })));
      const script = scope.document.createElement("script");
      script.src = url;
      const ready = new Promise((done) => { script.onload = done; });
      scope.document.body.append(script);
    }
  };
}

// Browsers start no worker for a page that was opened from a folder (file://), and the search is one.
// There it runs in a hidden frame of the page instead; on a server nothing changes.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const address = new URL(url, location.href).href;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.addEventListener("load", () => this.begin(frame.contentWindow, address), { once: true });
      document.body.append(frame);
    }

    begin(inner, address) {
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inner.document.createElement("script");
      script.src = address;
      script.onload = () => {
        this.inner = inner;
        this.waiting.forEach((data) => this.deliver(data));
      };
      inner.document.body.append(script);
    }

    postMessage(data) {
      if (this.inner) this.deliver(data);
      else this.waiting.push(data);
    }

    deliver(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }));
    }
  };
}

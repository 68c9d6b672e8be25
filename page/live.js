// Watches the camera: sends one small picture after the other, and shows what each is answered with.
(() => {
  const SIDE = 320;
  const LEAST_MILLISECONDS = 66;
  const SORRY = {
    NotAllowedError: "The camera was refused. Allow this page to use it in your browser, and press Start again.",
    SecurityError: "The camera was refused. Allow this page to use it in your browser, and press Start again.",
    NotFoundError: "No camera was found. Connect one, and press Start again.",
    OverconstrainedError: "No camera was found that fits. Connect another one, and press Start again.",
    NotReadableError: "The camera is used by another program. Close it there, and press Start again.",
    NoCameraHere: "This browser lets pages use the camera over https or on this computer only.",
    Offline: "The server does not answer. Press Start to try again.",
  };
  let watching = null;

  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const part = (root, selector) => root.querySelector(selector);

  function newName() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function addressOf(watched) {
    const address = new URL("live", document.baseURI);
    address.search = new URLSearchParams({ camera: watched.name, model: watched.model });
    return address;
  }

  function setRunning(root, isRunning) {
    part(root, "[data-do=start]").hidden = isRunning;
    part(root, "[data-do=stop]").hidden = !isRunning;
    part(root, ".seen").hidden = !isRunning;
  }

  function stop(sorry = "") {
    const watched = watching;
    if (!watched) return;
    watching = null;
    for (const track of watched.stream?.getTracks() ?? []) track.stop();
    if (watched.hasSent) fetch(addressOf(watched), { method: "DELETE", keepalive: true }).catch(() => {});
    part(watched.root, "video").srcObject = null;
    part(watched.root, ".sorry").textContent = sorry;
    setRunning(watched.root, false);
  }

  function showBars(bars, probabilities) {
    for (const [label, value] of Object.entries(probabilities)) {
      let row = bars.querySelector(`[data-label="${CSS.escape(label)}"]`);
      if (!row) {
        row = document.createElement("div");
        row.dataset.label = label;
        row.append(...["span", "i", "b"].map((name) => document.createElement(name)));
        row.firstChild.textContent = label;
        bars.append(row);
      }
      row.children[1].style.setProperty("--share", value);
      row.children[2].textContent = `${Math.round(100 * value)} %`;
    }
  }

  function showBox(canvas, box) {
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!box) return;
    const [left, top, right, bottom] = box;
    context.lineWidth = 3;
    context.strokeStyle = "#e69f00";
    const { width, height } = canvas;
    context.strokeRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
  }

  function show(root, said) {
    const answer = part(root, ".answer");
    // A screen reader says it whenever it is written.
    if (answer.textContent !== said.answer) answer.textContent = said.answer;
    part(root, ".group").textContent = said.coarse ? `Group: ${said.coarse.label}` : "";
    part(root, ".bars").hidden = !said.fine;
    if (said.fine) showBars(part(root, ".bars"), said.fine.probabilities);
    showBox(part(root, "canvas"), said.box);
  }

  async function send(watched, picture) {
    watched.hasSent = true;
    const reply = await fetch(addressOf(watched), {
      method: "POST",
      body: picture,
      headers: { "Content-Type": "image/jpeg" },
    });
    const said = await reply.json();
    if (!reply.ok) throw Object.assign(new Error(said.message), { said: said.message });
    return said;
  }

  async function keepSending(watched) {
    const { root } = watched;
    const video = part(root, "video");
    const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
    const small = document.createElement("canvas");
    const overlay = part(root, "canvas");
    [small.width, small.height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    [overlay.width, overlay.height] = [small.width, small.height];
    const times = [];
    while (watching === watched) {
      if (!root.isConnected || root.offsetParent === null || document.hidden) return stop();
      const started = performance.now();
      small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
      const picture = await new Promise((done) => small.toBlob(done, "image/jpeg", 0.85));
      const said = await send(watched, picture);
      if (watching !== watched) return;
      show(root, said);
      times.push(performance.now());
      if (times.length > 20) times.shift();
      const rate = (1000 * (times.length - 1)) / (times.at(-1) - times[0]);
      if (times.length > 4) part(root, ".rate").textContent = `${rate.toFixed(1)} pictures a second`;
      await wait(Math.max(0, LEAST_MILLISECONDS - (performance.now() - started)));
    }
  }

  async function start(root) {
    stop();
    const watched = { root, name: newName(), model: part(root, "select").value, hasSent: false };
    watching = watched;
    part(root, ".sorry").textContent = "";
    setRunning(root, true);
    part(root, ".answer").textContent = "The camera starts …";
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw Object.assign(new Error(), { name: "NoCameraHere" });
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 }, audio: false });
      watched.stream = stream;
      if (watching !== watched) return stream.getTracks().forEach((track) => track.stop());
      const video = part(root, "video");
      video.srcObject = stream;
      await video.play();
      await keepSending(watched);
    } catch (error) {
      if (watching !== watched) return;
      const isNetwork = error instanceof TypeError || error instanceof SyntaxError;
      stop(error.said ?? (isNetwork ? SORRY.Offline : SORRY[error.name] ?? `The camera cannot be used (${error.name}).`));
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element && event.target.closest(".dfer-live [data-do]");
    if (!button) return;
    if (button.dataset.do === "start") start(button.closest(".dfer-live"));
    else stop();
  });
  document.addEventListener("change", (event) => {
    const root = event.target instanceof Element && event.target.matches("select") && event.target.closest(".dfer-live");
    if (root && watching) start(root);
  });
  addEventListener("pagehide", () => stop());
})();

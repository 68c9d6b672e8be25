// Moves the video when its timeline is clicked, dragged or stepped along, and the playhead along with the video.
(() => {
  const SLIDER = ".dfer-timeline [role=slider]";
  const STEPS = { ArrowLeft: -0.1, ArrowDown: -0.1, ArrowRight: 0.1, ArrowUp: 0.1, PageDown: -1, PageUp: 1 };
  const sliderAt = (event) => (event.target instanceof Element ? event.target.closest(SLIDER) : null);
  const videoOf = (slider) => document.querySelector(`#${slider.dataset.video} video`);
  const endOf = (slider) => Number(slider.getAttribute("aria-valuemax"));

  function saidAt(slider, seconds) {
    const moments = [...slider.querySelectorAll("i")];
    const reached = moments.findLast((moment) => Number(moment.dataset.start) <= seconds + 1e-3);
    return reached && seconds < Number(reached.dataset.end) + 1e-3 ? reached.dataset.said : "face not seen";
  }

  function show(slider, seconds) {
    const end = endOf(slider);
    const at = Math.min(Math.max(seconds, 0), end);
    slider.querySelector(".playhead").style.left = `${(100 * at) / end}%`;
    slider.setAttribute("aria-valuenow", at.toFixed(2));
    slider.setAttribute("aria-valuetext", `${at.toFixed(1)} s: ${saidAt(slider, at)}`);
  }

  function seek(slider, seconds) {
    const at = Math.min(Math.max(seconds, 0), endOf(slider));
    const video = videoOf(slider);
    if (video) video.currentTime = at;
    show(slider, at);
  }

  function seekTo(slider, event) {
    const place = slider.getBoundingClientRect();
    seek(slider, ((event.clientX - place.left) / place.width) * endOf(slider));
  }

  function follow(video) {
    for (const slider of document.querySelectorAll(SLIDER)) {
      if (videoOf(slider) === video) show(slider, video.currentTime);
    }
  }

  document.addEventListener("pointerdown", (event) => {
    const slider = sliderAt(event);
    if (!slider || event.button) return;
    slider.setPointerCapture(event.pointerId);
    slider.focus({ preventScroll: true });
    seekTo(slider, event);
  });
  document.addEventListener("pointermove", (event) => {
    const slider = sliderAt(event);
    if (slider?.hasPointerCapture(event.pointerId)) seekTo(slider, event);
  });
  document.addEventListener("keydown", (event) => {
    const slider = sliderAt(event);
    if (!slider || event.altKey || event.ctrlKey || event.metaKey) return;
    const places = { Home: 0, End: endOf(slider) };
    const now = Number(slider.getAttribute("aria-valuenow"));
    const at = event.key in STEPS ? now + STEPS[event.key] : places[event.key];
    if (at === undefined) return;
    event.preventDefault();
    seek(slider, at);
  });
  document.addEventListener("click", (event) => {
    const picture = event.target instanceof Element && event.target.closest("#strip [data-seconds]");
    const slider = document.querySelector(`#timeline ${SLIDER}`);
    if (picture && slider) seek(slider, Number(picture.dataset.seconds));
  });

  // Events of videos do not bubble, but pass here on their way down.
  for (const name of ["timeupdate", "seeking", "loadedmetadata"]) {
    document.addEventListener(name, (event) => follow(event.target), true);
  }
  document.addEventListener(
    "play",
    (event) => {
      const video = event.target;
      // More often than the few times a second that the video itself tells where it is.
      const tick = () => {
        follow(video);
        if (!video.paused && video.isConnected) requestAnimationFrame(tick);
      };
      tick();
    },
    true,
  );
  // A new timeline starts where its video is.
  new MutationObserver(() => {
    for (const slider of document.querySelectorAll(`${SLIDER}:not([data-placed])`)) {
      slider.dataset.placed = "";
      show(slider, videoOf(slider)?.currentTime ?? 0);
    }
  }).observe(document, { childList: true, subtree: true });
})();

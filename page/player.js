// Plays the layers of an answer together: the video with heat maps below, the one without above it, the original beside.
(() => {
  const playerOf = (target) => (target instanceof Element ? target.closest(".dfer-player") : null);
  const baseOf = (player) => player.querySelector("video.base");
  // So far may two videos that play drift apart, in seconds.
  const DRIFT = 0.08;

  function align(player) {
    const base = baseOf(player);
    for (const video of player.querySelectorAll("video.follows")) {
      if (video.closest("[hidden]") || !video.readyState) continue;
      const apart = Math.abs(video.currentTime - base.currentTime);
      if (apart > (base.paused ? 1e-3 : DRIFT)) video.currentTime = base.currentTime;
      if (video.paused !== base.paused) base.paused ? video.pause() : video.play().catch(() => {});
    }
    const seek = player.querySelector(".seek");
    seek.max = base.duration || 1;
    seek.value = base.currentTime;
    seek.setAttribute("aria-valuetext", `${base.currentTime.toFixed(1)} s`);
    player.querySelector(".at").textContent = `${base.currentTime.toFixed(1)} s`;
    const play = player.querySelector(".play");
    play.textContent = base.paused ? "▶" : "❚❚";
    play.setAttribute("aria-label", base.paused ? "Play" : "Pause");
  }

  const toggle = (base) => (base.paused ? base.play().catch(() => {}) : base.pause());

  document.addEventListener("click", (event) => {
    const player = playerOf(event.target);
    if (!player) return;
    const base = baseOf(player);
    if (event.target.closest(".play, .layers")) toggle(base);
    const sound = event.target.closest(".sound");
    if (sound) {
      base.muted = !base.muted;
      sound.setAttribute("aria-pressed", String(!base.muted));
    }
  });
  document.addEventListener("input", (event) => {
    const player = playerOf(event.target);
    if (!player) return;
    if (event.target.matches(".seek")) baseOf(player).currentTime = Number(event.target.value);
    if (event.target.matches(".show-original")) {
      player.querySelector(".original").hidden = !event.target.checked;
      align(player);
    }
    if (event.target.matches(".map-on, .map-opacity")) {
      const shown = player.querySelector(".map-on").checked;
      const opacity = shown ? player.querySelector(".map-opacity").value / 100 : 0;
      player.querySelector(".plain").style.opacity = 1 - opacity;
    }
  });
  // Events of videos do not bubble, but pass here on their way down.
  for (const name of ["timeupdate", "seeking", "seeked", "pause", "loadeddata", "ended", "play"]) {
    document.addEventListener(
      name,
      (event) => {
        const player = playerOf(event.target);
        if (player) align(player);
      },
      true,
    );
  }
})();

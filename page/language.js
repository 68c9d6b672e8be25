// Shows the page in the browser's language, or in the one that is picked: `TABLES` holds English sentences and others.
(() => {
  const ATTRIBUTES = ["aria-label", "aria-valuetext", "alt", "title", "placeholder"];
  const SKIPPED = "script, style, textarea, #language, [translate=no]";
  let language = "en";
  // What a text or attribute said in English, and what it was replaced by.
  const shown = new WeakMap();

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  // `{}` is for words of one sentence, `{n}` for a number.
  const GAP = /\{n?\}/, WORDS = "((?:(?!\\. ).)+?)", NUMBER = "(-?[\\d.]+)", DECIMAL = /^-?\d+\.\d+$/;
  const bare = (text) => text.split(GAP).join("");
  const PATTERNS = {};
  for (const [name, table] of Object.entries(TABLES)) {
    PATTERNS[name] = Object.entries(table)
      .filter(([english]) => GAP.test(english))
      // The more is said beside the gaps, the better it fits.
      .sort(([first], [second]) => bare(second).length - bare(first).length)
      .map(([english, other]) => [new RegExp(`^${escaped(english).replace(/\\{n\\}/g, NUMBER).replace(/\\{\\}/g, WORDS)}$`), other]);
  }

  function exactly(text) {
    const table = TABLES[language];
    if (Object.hasOwn(table, text)) return table[text];
    if (DECIMAL.test(text)) return text.replace(".", table["decimal sign"] ?? ".");
    for (const [pattern, other] of PATTERNS[language]) {
      const found = pattern.exec(text);
      if (!found) continue;
      let gap = 0;
      return other.replace(/\{n?\}/g, () => translated(found[++gap]));
    }
    return null;
  }

  // A text as a whole, or else sentence by sentence, or else item by item of a list, and each item by its parts.
  function translated(text) {
    const whole = exactly(text);
    if (whole !== null) return whole;
    for (const [between, joined] of [[/(?<=[.!?]) (?!\d)/, " "], [/; /, "; "], [/: /, ": "], [/, /, ", "]]) {
      const parts = text.split(between);
      if (parts.length > 1) {
        const others = parts.map(translated);
        if (others.some((other, index) => other !== parts[index])) return others.join(joined);
      }
    }
    return text;
  }

  // Names of files in quotation marks are the same in every language, whatever they hold.
  const QUOTED = /(?<![\p{L}\p{N}_])(?:'[^'\n]*'|"[^"\n]*")(?![\p{L}\p{N}_])/gu, FIRST_MARK = 0xe000;
  function said(text) {
    const quoted = [];
    const marked = text.replace(QUOTED, (name) => String.fromCharCode(FIRST_MARK + quoted.push(name) - 1));
    return quoted.reduce((other, name, place) => other.replace(String.fromCharCode(FIRST_MARK + place), () => name), translated(marked));
  }

  function spoken(holder, key, now) {
    const before = shown.get(holder)?.[key];
    const english = before && before.other === now ? before.english : now;
    const trimmed = english.trim().replace(/\s+/g, " ");
    const other = language === "en" || !(/[\p{L}%]/u.test(trimmed) || DECIMAL.test(trimmed)) ? trimmed : said(trimmed);
    const whole = other === trimmed ? english : english.replace(english.trim(), () => other);
    shown.set(holder, { ...shown.get(holder), [key]: { english, other: whole } });
    return whole;
  }

  function show(node) {
    if (node.nodeType === Node.TEXT_NODE) {
      if (!node.parentElement || node.parentElement.closest(SKIPPED)) return;
      const said = spoken(node, "text", node.data);
      if (said !== node.data) node.data = said;
    } else if (node.nodeType === Node.ELEMENT_NODE && !node.closest(SKIPPED)) {
      for (const name of ATTRIBUTES) {
        if (!node.hasAttribute(name)) continue;
        const said = spoken(node, name, node.getAttribute(name));
        if (said !== node.getAttribute(name)) node.setAttribute(name, said);
      }
      for (const child of node.childNodes) show(child);
    }
  }

  function choose(name) {
    language = name in TABLES ? name : "en";
    document.documentElement.lang = language;
    const picker = document.querySelector("#language select");
    if (picker) picker.value = language;
    show(document.body);
  }

  document.addEventListener("change", (event) => {
    if (event.target.matches?.("#language select")) choose(event.target.value);
  });
  const start = () => {
    choose(navigator.language.slice(0, 2));
    new MutationObserver((changes) => {
      for (const { type, target, addedNodes } of changes) {
        for (const node of type === "childList" ? addedNodes : [target]) show(node);
        const picker = document.querySelector("#language select");
        if (picker && picker.dataset.set === undefined) {
          picker.dataset.set = "";
          picker.value = language;
        }
      }
    }).observe(document.body, {
      childList: true, characterData: true, subtree: true, attributes: true, attributeFilter: ATTRIBUTES,
    });
  };
  document.body ? start() : addEventListener("DOMContentLoaded", start);
})();

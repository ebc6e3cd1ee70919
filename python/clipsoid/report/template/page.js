"use strict";
(() => {
  const { shown, before, csv, copy, turned, sortTable, tableRows } = tables;
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const views = {};
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // ---- light and dark

  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => root.dataset.theme === "dark";

  function setTheme(dark) {
    root.dataset.theme = dark ? "dark" : "light";
    // It says where it leads.
    button.textContent = dark ? "Light" : "Dark";
    return drawAll();
  }

  // What a reader has chosen outlives the page. Pages from files may have no storage.
  const KEPT = "clipsoid-theme";

  function kept() {
    try {
      return localStorage.getItem(KEPT);
    } catch {
      return null;
    }
  }

  function turnTheme() {
    const dark = !isDark();
    try {
      localStorage.setItem(KEPT, dark ? "dark" : "light");
    } catch {
      // It holds until the page is closed.
    }
    setTheme(dark);
  }

  // Every colour of a chart has its counterpart on a dark page.
  function coloured(value) {
    if (typeof value === "string") return data.dark[value] ?? value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value === null || typeof value !== "object") return value;
    const found = {};
    for (const [name, part] of Object.entries(value)) {
      // The rows that are drawn hold no colours, and are many.
      found[name] = name === "values" || name === "datasets" ? part : coloured(part);
    }
    return found;
  }

  // ---- charts

  async function draw(key, { spec, renderer }, width) {
    const place = document.getElementById(key);
    const state = views[key] && remembered(views[key].view);
    views[key]?.finalize();
    try {
      views[key] = await vegaEmbed(place, { ...(isDark() ? coloured(spec) : spec), width }, {
        renderer,
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: key,
        tooltip: { theme: isDark() ? "dark" : "light" },
        ast: false,
      });
    } catch (error) {
      place.classList.add("failed");
      place.textContent = `This chart could not be drawn: ${error.message}`;
      throw error;
    }
    label(place);
    if (state !== undefined) await views[key].view.signal("step", state).runAsync();
    showRanges(key);
    watch(key);
  }

  // Where the slider of a chart stands, which another theme is not to move.
  const remembered = (view) => ("step" in view.getState().signals ? view.signal("step") : undefined);

  function label(place) {
    // What is within is described as a whole.
    one(":scope > svg, :scope > canvas", one(".chart-wrapper", place) ?? place)?.setAttribute("aria-hidden", "true");
    one("summary", place)?.setAttribute("aria-label", "Save this chart");
  }

  // All at once, before anything is drawn: a chart that asked for its own would lay out the page anew.
  const widths = () =>
    Object.fromEntries(Object.keys(data.charts).map((key) => [key, document.getElementById(key).clientWidth]));

  function resize() {
    const width = widths();
    for (const [key, { view }] of Object.entries(views)) {
      quietly(() => view.width(width[key]).run());
      showRanges(key);
    }
  }

  let turn = 0;

  async function drawAll() {
    delete root.dataset.drawn;
    const mine = (turn += 1);
    const width = widths();
    let failed = 0;
    for (const [key, chart] of Object.entries(data.charts)) {
      // The theme has changed meanwhile: the later call draws them all.
      if (mine !== turn) return;
      try {
        await draw(key, chart, width[key]);
      } catch (error) {
        failed += 1;
        console.error(error);
      }
    }
    root.dataset.drawn = failed ? "failed" : "true";
  }

  // ---- thumbnails

  function picture(number, caption) {
    const { src, path, why } = data.thumbnails[number];
    if (src) {
      const image = new Image();
      image.src = src;
      image.alt = caption || path;
      image.decoding = "async";
      return image;
    }
    const gone = document.createElement("span");
    gone.className = "gone";
    gone.textContent = `${why}: ${path}`;
    return gone;
  }

  function fill(place) {
    const caption = one(".caption:not(.none)", place.parentElement)?.textContent;
    place.replaceChildren(picture(Number(place.dataset.thumbnail), caption));
  }

  // ---- rows of a range

  const PAGE = 10;
  const MOST_TILES = 10;
  const explorers = {};

  function explorer(place) {
    const { figure, signal, columns, images } = data.explorers[place.dataset.explorer];
    const names = Object.keys(columns);
    const by = columns[names[1]];
    const count = columns.row.length;
    const state = { low: -Infinity, high: Infinity, order: null, page: 0, rows: [] };
    const head = one("thead tr", place);
    for (const name of names) {
      const heading = document.createElement("th");
      heading.scope = "col";
      if (typeof columns[name][0] === "number") heading.className = "number";
      const sort = document.createElement("button");
      sort.type = "button";
      sort.className = "sort";
      sort.textContent = name.replaceAll("_", " ");
      sort.addEventListener("click", () => {
        state.order = [name, turned(heading, typeof columns[name][0] === "number")];
        state.page = 0;
        show();
      });
      heading.append(sort);
      head.append(heading);
    }

    function show() {
      const rows = [];
      for (let i = 0; i < count; i += 1) if (by[i] >= state.low && by[i] <= state.high) rows.push(i);
      if (state.order) {
        const [name, sign] = state.order;
        rows.sort((a, b) => sign * before(columns[name][a], columns[name][b]));
      } else {
        rows.sort((a, b) => by[b] - by[a]);
      }
      state.rows = rows;
      const pages = Math.max(1, Math.ceil(rows.length / PAGE));
      state.page = Math.min(state.page, pages - 1);
      const whole = Number(one("[data-count]", place).dataset.total);
      const sample = count < whole ? ` (a sample of ${whole.toLocaleString("en-US")})` : "";
      one("[data-count]", place).textContent = rows.length
        ? `${shown(rows.length)} of ${shown(count)} rows${sample} in this range`
        : `No row of ${shown(count)}${sample} is in this range.`;
      one("[data-gallery]", place).replaceChildren(...tiles(rows));
      one("tbody", place).replaceChildren(...rows.slice(state.page * PAGE, (state.page + 1) * PAGE).map(line));
      one("[data-page]", place).textContent = `page ${state.page + 1} of ${shown(pages)}`;
      one("[data-previous]", place).disabled = state.page === 0;
      one("[data-next]", place).disabled = state.page === pages - 1;
    }

    // Of the rows that have a picture, as many as fit, spread over the range.
    function tiles(rows) {
      const seen = rows.filter((i) => i in images);
      const step = Math.max(1, seen.length / MOST_TILES);
      const chosen = [];
      for (let at = 0; at < seen.length && chosen.length < MOST_TILES; at += step) chosen.push(seen[Math.floor(at)]);
      return chosen.map((i) => {
        const tile = document.createElement("li");
        tile.className = "item";
        const frame = document.createElement("span");
        frame.className = "picture";
        frame.append(picture(images[i], columns.caption?.[i]));
        const words = document.createElement("p");
        words.className = "caption";
        if (columns.caption) write(words, columns.caption[i], "no caption");
        const value = document.createElement("p");
        value.className = "value";
        value.textContent = `${shown(by[i])} row ${shown(columns.row[i])}`;
        tile.append(frame, words, value);
        return tile;
      });
    }

    function line(i) {
      const row = document.createElement("tr");
      for (const name of names) {
        const cell = row.insertCell();
        const value = columns[name][i];
        if (typeof value === "number") {
          cell.className = "number";
          cell.textContent = shown(value);
        } else {
          const words = document.createElement("span");
          words.className = "cell";
          write(words, value, name === "caption" ? "no caption" : "");
          words.title = words.textContent;
          cell.append(words);
        }
      }
      return row;
    }

    function write(place, text, otherwise) {
      place.textContent = text || otherwise;
      place.dir = "auto";
      if (!text) place.classList.add("none");
    }

    const low = one("[data-low]", place);
    const high = one("[data-high]", place);
    function choose(from, to) {
      Object.assign(state, { low: Math.min(from, to), high: Math.max(from, to), page: 0 });
      low.value = Number.isFinite(state.low) ? Number(state.low.toPrecision(5)) : "";
      high.value = Number.isFinite(state.high) ? Number(state.high.toPrecision(5)) : "";
      show();
    }
    const typed = () => {
      choose(low.value === "" ? -Infinity : Number(low.value), high.value === "" ? Infinity : Number(high.value));
      showRanges(figure);
    };
    low.addEventListener("change", typed);
    high.addEventListener("change", typed);
    one("[data-all]", place).addEventListener("click", () => {
      choose(-Infinity, Infinity);
      showRanges(figure);
    });
    one("[data-copy-rows]", place).addEventListener("click", (event) =>
      copy(csv([names, ...state.rows.map((i) => names.map((name) => columns[name][i]))]), event.currentTarget));
    one("[data-previous]", place).addEventListener("click", () => { state.page -= 1; show(); });
    one("[data-next]", place).addEventListener("click", () => { state.page += 1; show(); });
    show();
    (explorers[figure] ??= []).push({ signal, state, choose });
  }

  // The range of an explorer is its own. The chart shows it, and tells only what a reader moves.
  let quiet = false;

  function quietly(change) {
    quiet = true;
    try {
      change();
    } finally {
      quiet = false;
    }
  }

  function showRanges(key) {
    const view = views[key]?.view;
    for (const { signal, state } of (view && explorers[key]) ?? []) {
      const scale = view.scale("x");
      const [least, most] = scale.domain();
      const ends = [Math.max(state.low, least), Math.min(state.high, most)];
      const isPart = ends[0] < ends[1] && (state.low > -Infinity || state.high < Infinity);
      quietly(() => view.signal(`${signal}_x`, isPart ? ends.map(scale) : []).run());
    }
  }

  // A range that is chosen in a histogram.
  function watch(key) {
    for (const { signal, choose } of explorers[key] ?? []) {
      views[key].view.addSignalListener(signal, (name, value) => {
        if (quiet) return;
        const range = value?.low;
        if (range) choose(Math.min(...range), Math.max(...range));
        else choose(-Infinity, Infinity);
      });
    }
  }

  // ---- what can be taken out

  async function save(node) {
    const bytes = Uint8Array.from(atob(node.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await new Response(stream).blob());
    link.download = `${node.dataset.format}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  all("[data-thumbnail]").forEach(fill);
  all("table.sorted .sort").forEach((sort) => sort.addEventListener("click", () => sortTable(sort.closest("th"))));
  all("[data-copy]").forEach((from) => from.addEventListener("click", () =>
    copy(csv(tableRows(document.getElementById(from.dataset.copy))), from)));
  all("[data-explorer]").forEach(explorer);
  document.getElementById("save")?.addEventListener("click", () => save(document.getElementById("clipsoid-payload")));
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(resize, 150);
  });
  button.addEventListener("click", turnTheme);
  system.addEventListener("change", (event) => kept() ?? setTheme(event.matches));
  // Paper is white. No chart waits for anything but promises: they have drawn when printing goes on.
  let printed = false;
  window.addEventListener("beforeprint", () => {
    printed = isDark();
    if (printed) setTheme(false);
  });
  window.addEventListener("afterprint", () => printed && setTheme(true));
  setTheme((kept() ?? (system.matches ? "dark" : "light")) === "dark");
})();

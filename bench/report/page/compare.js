// The grid of players, the curves below them, the wipe, and the state in the address of the page.
"use strict";
if (shown) {
  const $ = (id) => document.getElementById(id);
  const methodNames = shown.methods.map((method) => method.name);
  const metricOf = (name) => shown.metrics.find((metric) => metric.name === name);
  const ranking = shown.metrics.filter((metric) => metric.better !== "neither");
  const drawn = shown.metrics.filter(({ name }) => shown.videos.some((v) => (v.lines[name] || []).some((p) => p[1] !== null)));
  const systems = shown.methods.filter((method) => method.block === "systems").map((method) => method.name);
  const seeds = [...new Set(shown.videos.map((video) => video.seed))];
  const state = { place: 0, seed: seeds[0], methods: new Set(shown.methods.map((m) => m.name)), metric: (drawn[0] || ranking[0] || shown.metrics[0] || { name: "" }).name };
  const heads = new Map();
  const clock = new Clock(onFrame);
  let items = [];
  let wiped = [];

  const options = (element, pairs) => element.replaceChildren(...pairs.map(([value, text]) => make("option", { value }, text)));
  const titles = shown.methods.map((method) => [method.name, method.title]);
  const videoOf = (place, method, seed) => shown.videos.find((v) => v.prompt === place && shown.methods[v.method].name === method && v.seed === seed);

  options($("curve"), drawn.map((m) => [m.name, `${m.title} (${m.unit})`]));
  $("curve").parentElement.hidden = !drawn.length;
  options($("sort-metric"), ranking.map((m) => [m.name, m.title]));
  for (const id of ["sort-a", "sort-b", "wipe-a", "wipe-b"]) options($(id), titles);
  const pair = systems.length > 1 ? systems : methodNames;
  for (const side of ["sort", "wipe"]) {
    $(`${side}-a`).value = pair[0];
    $(`${side}-b`).value = pair[1] || pair[0];
  }
  for (const method of shown.methods) {
    const box = make("input", { type: "checkbox", value: method.name });
    box.checked = true;
    box.addEventListener("change", () => {
      box.checked ? state.methods.add(method.name) : state.methods.delete(method.name);
      draw();
    });
    $("methods").append(make("label", {}, box, ` ${method.title}`));
  }

  // Prompts by how much two methods differ on a metric, the largest difference first.
  function listPrompts() {
    const [a, b, metric] = [$("sort-a").value, $("sort-b").value, $("sort-metric").value];
    const entries = [];
    shown.prompts.forEach((prompt, place) => {
      for (const seed of seeds) {
        if (!shown.videos.some((v) => v.prompt === place && v.seed === seed)) continue;
        const [x, y] = [a, b].map((name) => (videoOf(place, name, seed) || { scores: {} }).scores[metric]);
        const difference = x == null || y == null ? null : x - y;
        const words = difference === null ? "" : ` (${difference > 0 ? "+" : ""}${Number(difference.toPrecision(3))})`;
        entries.push({ value: `${place}/${seed}`, text: `${prompt.id}${seed ? `, seed ${seed}` : ""}: ${prompt.text}`.slice(0, 90) + words, size: difference === null ? -1 : Math.abs(difference) });
      }
    });
    entries.sort((x, y) => y.size - x.size);
    options($("prompt"), entries.map((entry) => [entry.value, entry.text]));
    return entries;
  }

  function choosePlace(value) {
    const [place, seed] = value.split("/").map(Number);
    Object.assign(state, { place, seed });
    draw();
  }

  function draw() {
    $("prompt").value = `${state.place}/${state.seed}`;
    $("curve").value = state.metric;
    const prompt = shown.prompts[state.place];
    $("said").textContent = prompt ? prompt.text : "";
    $("picked").textContent = `${state.methods.size} of ${shown.methods.length}`;
    for (const box of document.querySelectorAll("#methods input")) box.checked = state.methods.has(box.value);
    const known = new Map(items.map((item) => [item.video.key, item]));
    items = methodNames
      .filter((name) => state.methods.has(name))
      .map((name) => videoOf(state.place, name, state.seed))
      .filter(Boolean)
      .map((video) => known.get(video.key) || { video, element: videoElement(video, shown.methods[video.method].title) });
    heads.clear();
    const scale = scaleOf(items.map((item) => item.video));
    $("grid").replaceChildren(...items.map((item) => player(item, scale)));
    drawWipe();
  }

  function player(item, scale) {
    const { video, element } = item;
    const method = shown.methods[video.method];
    const metric = metricOf(state.metric);
    const value = metric && video.scores[metric.name];
    const head = make("h3", {}, make("span", { class: "dot", style: `background:${method.colour};margin:0` }), make("b", {}, method.title), make("span", {}, value == null ? "" : `${metric.title} ${value}`));
    const parts = [head, element];
    if (metric && video.lines[metric.name]) parts.push(curve(video, scale), make("div", { class: "ends" }, make("span", {}, scale.words[0]), make("span", {}, scale.words[1])));
    return make("div", { class: "player", "data-method": method.name }, ...parts);
  }

  // One scale for all curves of the metric; logarithmic where the values span more than a factor of twenty.
  function scaleOf(videos) {
    const values = videos.flatMap((v) => (v.lines[state.metric] || []).map((p) => p[1])).filter((v) => v !== null);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (!values.length) [low, high] = [0, 1];
    const log = low > 0 && high > 20 * low;
    const words = [`${Number(low.toPrecision(3))} – ${Number(high.toPrecision(3))}${log ? ", log" : ""}`, "0 – end"];
    const map = log ? Math.log : (x) => x;
    const span = map(high) - map(low) || 1;
    return { at: (value) => 54 - (50 * (map(value) - map(low))) / span, words };
  }

  function curve(video, scale) {
    const svg = make("svg", { class: "curve", viewBox: `0 0 ${video.frames} 58`, preserveAspectRatio: "none", role: "img", "aria-label": `${metricOf(state.metric).title} over time of ${shown.methods[video.method].title}; a click goes there` });
    if (video.shared) svg.append(make("rect", { class: "shared", x: 0, y: 0, width: video.shared, height: 58 }));
    for (const seam of video.seams) svg.append(make("line", { class: "seam", x1: seam, x2: seam, y1: 50, y2: 58 }));
    for (const cut of video.cuts) svg.append(make("line", { class: "cut", x1: cut, x2: cut, y1: 0, y2: 12 }));
    let path = "";
    let open = false;
    for (const [frame, value] of video.lines[state.metric]) {
      if (value !== null) path += `${open ? "L" : "M"}${frame} ${scale.at(value).toFixed(1)}`;
      open = value !== null;
    }
    svg.append(make("path", { d: path, stroke: shown.methods[video.method].colour }));
    const line = make("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: 58 });
    svg.append(line);
    heads.set(line, video);
    svg.addEventListener("pointerdown", (event) => {
      const box = svg.getBoundingClientRect();
      const frame = ((event.clientX - box.left) / box.width) * video.frames;
      const near = [...video.seams, ...video.cuts].find((tick) => Math.abs(tick - frame) * (box.width / video.frames) <= 4);
      clock.pause();
      clock.seek(frameOf(video, near === undefined ? Math.floor(frame) : near));
      remember();
    });
    return svg;
  }

  // The frame of the clock in the middle of a frame of one video.
  const frameOf = (video, frame) => Math.floor(((frame + 0.5) * clock.fps) / video.fps);

  function drawWipe() {
    const names = $("wipe-box").open ? [$("wipe-b").value, $("wipe-a").value] : [];
    const videos = names.map((name) => videoOf(state.place, name, state.seed)).filter(Boolean);
    const same = videos.length === wiped.length && videos.every((video, i) => video.key === wiped[i].video.key);
    if (!same) {
      wiped = videos.map((video) => ({ video, element: videoElement(video, shown.methods[video.method].title) }));
      $("wipe").replaceChildren(...wiped.map((item) => item.element), ...(wiped.length > 1 ? [make("div", { class: "line" })] : []));
    }
    const edge = Number($("edge").value);
    if (wiped.length > 1) {
      wiped[1].element.style.clipPath = `inset(0 ${100 - edge}% 0 0)`;
      $("wipe").querySelector(".line").style.left = `${edge}%`;
    }
    const all = [...items, ...wiped];
    if (all.length && all.some((item, i) => item !== clock.items[i]) || all.length !== clock.items.length) clock.show(all);
    $("scrub").max = Math.max(0, (clock.frames || 1) - 1);
    remember();
    onFrame(clock.frame);
  }

  function onFrame(frame) {
    $("scrub").value = frame;
    $("time").textContent = `${frame} / ${(clock.frames || 1) - 1} · ${(frame / (clock.fps || 1)).toFixed(1)} s`;
    for (const [line, video] of heads) {
      const own = Math.min(Math.floor(((frame + 0.5) * video.fps) / (clock.fps || 1)), video.frames - 1) + 0.5;
      line.setAttribute("x1", own);
      line.setAttribute("x2", own);
    }
    $("play").textContent = clock.playing ? "⏸" : "▶";
    $("play").setAttribute("aria-label", clock.playing ? "Pause" : "Play");
  }

  // The address keeps prompt, seed, methods, metric, frame and wipe, so that a link shows what its sender saw.
  let touched = location.hash.startsWith("#compare?");
  function remember() {
    if (!touched) return;
    const words = new URLSearchParams({ p: state.place, s: state.seed, m: [...state.methods].join(","), k: state.metric, f: clock.frame });
    if ($("wipe-box").open) words.set("w", [$("wipe-a").value, $("wipe-b").value, $("edge").value].join(","));
    history.replaceState(null, "", `#compare?${words}`);
  }

  function recall() {
    if (!location.hash.startsWith("#compare?")) return false;
    const words = new URLSearchParams(location.hash.slice("#compare?".length));
    const video = shown.videos.find((v) => v.key === words.get("v"));
    if (video) Object.assign(state, { place: video.prompt, seed: video.seed });
    if (shown.prompts[words.get("p")]) state.place = Number(words.get("p"));
    if (seeds.includes(Number(words.get("s"))) && words.has("s")) state.seed = Number(words.get("s"));
    const names = (words.get("m") || "").split(",").filter((name) => methodNames.includes(name));
    if (words.has("m") && names.length) state.methods = new Set(names);
    if (video) state.methods.add(shown.methods[video.method].name);
    if (drawn.some((metric) => metric.name === words.get("k"))) state.metric = words.get("k");
    const [a, b, edge] = (words.get("w") || "").split(",");
    if (methodNames.includes(a) && methodNames.includes(b)) {
      $("wipe-a").value = a;
      $("wipe-b").value = b;
      $("edge").value = Number(edge) || 50;
      $("wipe-box").open = true;
    }
    draw();
    clock.pause();
    // The tables of the page count in frames of their video, an address of this script in those of the clock.
    const frame = Number(words.get("f")) || 0;
    clock.seek(video ? frameOf(video, frame) : frame);
    remember();
    $("compare").scrollIntoView();
    return true;
  }

  const act = (id, kind, work) => $(id).addEventListener(kind, () => { touched = true; work(); });
  act("prompt", "change", () => choosePlace($("prompt").value));
  act("curve", "change", () => { state.metric = $("curve").value; draw(); });
  for (const id of ["sort-a", "sort-b", "sort-metric"]) act(id, "change", () => choosePlace(listPrompts()[0].value));
  for (const id of ["wipe-a", "wipe-b"]) act(id, "change", drawWipe);
  act("edge", "input", drawWipe);
  $("wipe-box").addEventListener("toggle", () => { touched = touched || $("wipe-box").open; drawWipe(); });
  const drag = (event) => {
    const box = $("wipe").getBoundingClientRect();
    $("edge").value = (100 * (event.clientX - box.left)) / box.width;
    touched = true;
    drawWipe();
  };
  $("wipe").addEventListener("pointerdown", drag);
  $("wipe").addEventListener("pointermove", (event) => event.buttons && drag(event));
  act("play", "click", () => { clock.playing ? clock.pause() : clock.play(); remember(); });
  act("back", "click", () => { clock.step(-1); remember(); });
  act("forth", "click", () => { clock.step(1); remember(); });
  act("scrub", "input", () => { clock.pause(); clock.seek(Number($("scrub").value)); remember(); });
  act("speed", "change", () => { clock.rate = Number($("speed").value); });
  act("loop", "change", () => { clock.loop = $("loop").checked; });
  $("grid").addEventListener("pointerdown", () => (touched = true), true);
  addEventListener("keydown", (event) => {
    const box = $("compare").getBoundingClientRect();
    const visible = box.top < innerHeight && box.bottom > 0;
    // Space works what has the focus; arrows mean something of their own only where something is typed or chosen.
    const busy = event.key === " " ? "input, select, textarea, button, summary, a" : "input, select, textarea";
    if (!visible || event.target.closest(busy) || event.ctrlKey || event.metaKey || event.altKey) return;
    const work = { " ": () => (clock.playing ? clock.pause() : clock.play()), ArrowLeft: () => clock.step(-1), ArrowRight: () => clock.step(1) }[event.key];
    if (!work) return;
    event.preventDefault();
    touched = true;
    work();
    remember();
  });
  addEventListener("hashchange", recall);
  window.compareClock = clock;
  const first = listPrompts()[0];
  Object.assign(state, { place: Number(first.value.split("/")[0]), seed: Number(first.value.split("/")[1]) });
  if (!recall()) draw();
}

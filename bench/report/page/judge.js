// Pairs of systems on one prompt, in random order, without names; answers are kept here and leave as JSON.
"use strict";
if (shown) {
  const $ = (id) => document.getElementById(id);
  const key = `longvideo-bench judgements of ${shown.run}, ${shown.created}`;
  const mine = new Set();
  let keeps = true;
  let answers = [];
  let pairs = [];
  let pair = null;
  let begun = false;
  let began = 0;
  const clock = new Clock(() => {});

  // What is kept counts, not what this page remembers: another tab may have answered or undone something since.
  function latest() {
    if (!keeps) return answers;
    try {
      const kept = JSON.parse(localStorage.getItem(key));
      return Array.isArray(kept) ? kept : answers;
    } catch {
      return answers;
    }
  }
  function keep(changed) {
    answers = changed;
    try {
      localStorage.setItem(key, JSON.stringify(answers));
    } catch {
      keeps = false; // A page from disk may not be allowed to keep anything; the export still holds every answer.
    }
    count();
  }
  function count() {
    $("judge-count").textContent = `${answers.length} answered`;
    for (const id of ["judge-export", "judge-undo", "judge-forget"]) $(id).disabled = !answers.length;
  }
  function shuffle(list) {
    for (let i = list.length - 1; i > 0; i -= 1) {
      const j = Math.floor(Math.random() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
  const nameOf = (a, b) => [a, b].sort().join(" ");
  function allPairs() {
    const judged = new Set(latest().map((answer) => nameOf(answer.a, answer.b)));
    const videos = shown.videos.filter((video) => shown.methods[video.method].block === "systems");
    const found = [];
    videos.forEach((a, i) => videos.slice(i + 1).forEach((b) => {
      if (a.prompt === b.prompt && a.seed === b.seed && !judged.has(nameOf(a.key, b.key))) found.push(shuffle([a, b]));
    }));
    return shuffle(found);
  }
  function next() {
    pair = pairs.pop() || null;
    clock.pause();
    $("judge-stage").hidden = !pair;
    if (!pair) {
      $("judge-count").textContent = `${answers.length} answered, no pair left`;
      return;
    }
    const items = pair.map((video, side) => ({ video, element: videoElement(video, side ? "Video B" : "Video A") }));
    $("judge-a").replaceChildren(make("h3", {}, "A"), items[0].element);
    $("judge-b").replaceChildren(make("h3", {}, "B"), items[1].element);
    $("judge-prompt").textContent = shown.prompts[pair[0].prompt].text;
    clock.show(items);
    clock.seek(0);
    clock.play();
    began = performance.now();
  }
  function answer(word) {
    if (!pair) return;
    const id = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    mine.add(id);
    keep([...latest(), { id, a: pair[0].key, b: pair[1].key, answer: word, seconds }]);
    next();
  }
  // Takes back the last answer of this page, or else the last one that is kept; its pair is shown again.
  function undo() {
    const kept = latest();
    const last = kept.filter((one) => mine.has(one.id)).at(-1) || kept.at(-1);
    keep(kept.filter((one) => one !== last));
    const undone = last ? [last.a, last.b].map((name) => shown.videos.find((video) => video.key === name)) : [];
    if (!begun || !undone[0] || !undone[1]) return;
    if (pair) pairs.push(pair);
    pairs = pairs.filter(([a, b]) => nameOf(a.key, b.key) !== nameOf(last.a, last.b));
    pairs.push(undone);
    next();
  }
  function exported() {
    return JSON.stringify({ format: "longvideo-bench judgements 1", run: shown.run, judge: $("judge-name").value.trim(), answers: latest() }, null, 1);
  }
  $("judge-start").addEventListener("click", () => {
    begun = true;
    pairs = allPairs();
    next();
  });
  for (const button of document.querySelectorAll("#judge [data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  $("judge-export").addEventListener("click", () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([exported()], { type: "application/json" })), download: "judgements.json" });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  $("judge-undo").addEventListener("click", undo);
  $("judge-forget").addEventListener("click", () => {
    if (confirm(`Forget all ${latest().length} answers? Those not exported are lost.`)) keep([]);
  });
  addEventListener("keydown", (event) => {
    const word = { a: "a", b: "b", t: "tie" }[event.key.toLowerCase()];
    if (!word || !pair || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const box = $("judge-stage").getBoundingClientRect();
    const visible = box.top < innerHeight && box.bottom > 0;
    if (visible && !event.target.closest("input, select")) answer(word);
  });
  answers = latest();
  count();
}

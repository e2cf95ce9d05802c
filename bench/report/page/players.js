// One clock for several videos: they are started together, held within a frame of the clock, and sought together.
"use strict";
const shown = (() => {
  const element = document.getElementById("data");
  return element ? JSON.parse(element.textContent) : null;
})();

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "rect", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function videoElement(video, label) {
  const element = make("video", { src: video.src, width: video.width, height: video.height, preload: "auto", playsinline: "", "aria-label": label, tabindex: "-1" });
  element.muted = true;
  return element;
}

class Clock {
  constructor(onFrame) {
    this.items = [];
    this.onFrame = onFrame;
    this.time = 0;
    this.rate = 1;
    this.loop = true;
    this.playing = false;
    this.before = 0;
  }
  // Takes the place of the videos before. It counts frames of the fastest one, for as long as the longest one lasts.
  show(items) {
    for (const item of this.items) if (!items.includes(item)) item.element.pause();
    this.items = items;
    this.fps = Math.max(...items.map((item) => item.video.fps), 1);
    const length = Math.max(...items.map((item) => item.video.frames / item.video.fps), 0);
    this.frames = Math.max(Math.ceil(length * this.fps - 1e-6), 1);
    this.seek(Math.min(this.frame, this.frames - 1));
    if (this.playing) this.play();
  }
  get length() {
    return this.frames / this.fps;
  }
  get frame() {
    return Math.min(Math.floor(this.time * (this.fps || 1) + 1e-6), (this.frames || 1) - 1);
  }
  // The middle of a frame, so that rounding never shows its neighbour.
  seek(frame) {
    this.time = (Math.max(0, Math.min(frame, this.frames - 1)) + 0.5) / this.fps;
    for (const { element } of this.items) element.currentTime = Math.min(this.time, element.duration || this.time);
    this.onFrame(this.frame);
  }
  step(by) {
    this.pause();
    this.seek(this.frame + by);
  }
  // From the last frame on there is nothing left to play: it begins again.
  play() {
    if (this.frame >= this.frames - 1) this.seek(0);
    this.playing = true;
    this.before = performance.now();
    for (const { element } of this.items) {
      element.playbackRate = this.rate;
      element.play().catch(() => {});
    }
    cancelAnimationFrame(this.request);
    this.request = requestAnimationFrame((now) => this.tick(now));
  }
  pause() {
    this.playing = false;
    for (const { element } of this.items) element.pause();
    this.onFrame(this.frame);
  }
  tick(now) {
    if (!this.playing) return;
    const ready = this.items.every(({ element }) => element.readyState >= 3 || element.ended || element.error);
    if (ready) this.time += ((now - this.before) / 1000) * this.rate;
    this.before = now;
    if (this.time >= this.length) {
      if (!this.loop) {
        this.pause();
        return;
      }
      this.seek(0);
      for (const { element } of this.items) element.play().catch(() => {});
    }
    for (const { element } of this.items) this.hold(element);
    this.onFrame(this.frame);
    this.request = requestAnimationFrame((then) => this.tick(then));
  }
  hold(element) {
    if (element.seeking || element.ended || element.readyState < 2) return;
    const ahead = element.currentTime - this.time;
    if (Math.abs(ahead) > 0.9 / this.fps) element.currentTime = Math.min(this.time, element.duration || this.time);
    else element.playbackRate = this.rate * (1 - Math.max(-0.2, Math.min(0.2, ahead * 2)));
    if (element.paused) element.play().catch(() => {});
  }
}

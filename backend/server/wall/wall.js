// The crop wall in the browser: shows crops, takes keys and clicks, and sends decisions a few at a time.
"use strict";

(() => {
  const wall = document.getElementById("wall");
  const said = document.getElementById("said");
  const empty = document.getElementById("empty");
  const reviewer = document.getElementById("reviewer");
  const tools = document.getElementById("tools");
  const around = document.getElementById("around");
  const { project, class: label, sort, every, like, header, studio } = wall.dataset;
  const KEYS = { 1: "signature", 2: "stamp", 3: "thumb", 0: "none", " ": label, x: "skip" };
  // By its place on the keyboard, where an Arabic layout writes another letter or digit on it.
  const PLACES = { KeyX: "x", KeyZ: "z", KeyL: "l", KeyO: "o", KeyV: "v" };
  for (const digit of "0123") PLACES[`Digit${digit}`] = PLACES[`Numpad${digit}`] = digit;
  const PORTION = 20; // decisions that are sent at once
  const REST = 1200; // milliseconds without a decision after which the open ones are sent
  const LONGEST = 30; // seconds that one decision can have taken: who was away did not work

  let crops = []; // what hangs on the wall, in its order
  let tiles = [];
  let total = 0;
  let at = 0;
  let brush = "";
  let open = []; // decisions that were not sent yet
  let actions = []; // groups of decisions, for undo
  let sending = Promise.resolve();
  let timer = 0;
  let last = performance.now();
  let began = 0;
  let decided = 0;
  let saved = 0;
  let trouble = "";
  let unseen = 0; // crops that the last decision left alone, since their picture was not there

  const byId = new Map(); // decision id → crop

  function identity() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function pictureOf(crop, more = {}) {
    const query = new URLSearchParams({ project, task: crop.task, page: crop.page, region: crop.region, ...more });
    return `/review/crop?${query}`;
  }

  function tileOf(crop, place) {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "crop";
    tile.tabIndex = -1;
    const image = document.createElement("img");
    image.alt = "";
    image.decoding = "async";
    image.loading = place < 60 ? "eager" : "lazy";
    image.src = pictureOf(crop);
    crop.seen = false; // nobody can decide on what is not on the screen
    image.addEventListener("load", () => {
      crop.seen = true;
      show(crop);
    });
    const again = [1000, 3000]; // the server, or Label Studio behind it, may be busy for a moment
    image.addEventListener("error", () => {
      const later = again.shift();
      if (later) {
        setTimeout(() => { image.src = pictureOf(crop, { again: again.length }); }, later);
        return;
      }
      image.remove();
      crop.blind = true;
      show(crop);
    });
    const words = document.createElement("span");
    tile.append(image, words);
    tile.addEventListener("click", () => {
      focus(place);
      if (brush) decide([crop], brush);
    });
    return tile;
  }

  function show(crop) {
    const tile = tiles[crops.indexOf(crop)];
    if (!tile) return;
    const busy = !crop.seen && !crop.blind;
    const doubt = crop.blind ? "no picture" : busy ? "loading …" : `doubt ${Math.round(100 * crop.doubt)}%`;
    const to = crop.to;
    const kind = !to ? "" : to === "skip" || to === "none" ? to : to === crop.label ? "right" : "other";
    const told = { "": doubt, skip: "unsure", none: "✕ no mark", right: `✓ ${to}`, other: `→ ${to}` }[kind];
    tile.lastElementChild.textContent = crop.reason || told;
    tile.toggleAttribute("data-loading", busy);
    if (kind) tile.dataset.to = kind;
    else delete tile.dataset.to;
    if (crop.saved) tile.dataset.saved = crop.saved;
    else delete tile.dataset.saved;
    tile.title = crop.reason || "";
    tile.setAttribute("aria-label", `${crop.label}, ${told}${crop.reason ? `, not saved: ${crop.reason}` : ""}`);
  }

  function tell() {
    const left = crops.filter((crop) => !crop.to).length;
    const minutes = began ? (performance.now() - began) / 60000 : 0;
    const pace = decided && minutes > 0.05 ? `, ${Math.round(decided / minutes)} a minute` : "";
    const waits = open.length ? `, ${open.length} still to be sent` : "";
    const lost = crops.filter((crop) => crop.saved === "no").length;
    const refused = lost ? `, ${lost} not saved (in a red frame: load the page anew)` : "";
    const hung = crops.length
      ? `${left} of ${crops.length} on the screen are left, ${total} of this class in all; ` : "";
    const done = `${decided} decided, ${saved} saved${refused}${waits}${pace}.`;
    const without = unseen ? ` ${unseen} without a picture left alone: scroll to it and wait, or press o.` : "";
    said.textContent = trouble || (hung || decided ? hung + done + without : "");
  }

  function focus(place, { scroll = true } = {}) {
    if (!tiles.length) return;
    if (tiles[at]) tiles[at].tabIndex = -1;
    at = Math.max(0, Math.min(place, tiles.length - 1));
    tiles[at].tabIndex = 0;
    tiles[at].focus({ preventScroll: !scroll });
    if (scroll) tiles[at].scrollIntoView({ block: "nearest" });
    lookAround();
  }

  // What is around the crop on its page, as long as somebody wants to see it.
  function lookAround() {
    if (around.hidden || !crops.length) return;
    const source = pictureOf(crops[at], { around: 1 });
    const [image, words] = around.children;
    if (image.getAttribute("src") === source) return;
    words.textContent = "Loading …";
    image.hidden = true;
    image.src = source;
  }

  function turnAround() {
    around.hidden = !around.hidden;
    tools.querySelector("[data-now=around]").setAttribute("aria-pressed", String(!around.hidden));
    lookAround();
    if (!around.hidden) tiles[at].scrollIntoView({ block: "nearest" });
  }

  function columns() {
    const top = tiles[0].offsetTop;
    const first = tiles.findIndex((tile) => tile.offsetTop !== top);
    return first < 0 ? tiles.length : first;
  }

  function keyOf(event) {
    if (event.key.length > 1) return event.key;
    const plain = event.key.toLowerCase();
    return plain in KEYS || Object.values(PLACES).includes(plain) ? plain : PLACES[event.code] || plain;
  }

  function decide(some, to) {
    const now = performance.now();
    if (!began) began = now;
    const seconds = Math.min((now - last) / 1000, LONGEST) / Math.max(1, some.length);
    last = now;
    const group = [];
    unseen = 0;
    for (const crop of some) {
      if (crop.to && crop.to !== "skip") continue; // decided: undo comes first
      if (!crop.seen && to !== "skip") {
        unseen += 1;
        continue;
      }
      const before = crop.to || "";
      crop.to = to;
      crop.reason = "";
      const one = { crop, before, id: identity(), to, sent: false, seconds };
      if (to !== "skip") {
        decided += 1;
        byId.set(one.id, crop);
        open.push(one);
      }
      group.push(one);
      show(crop);
    }
    if (group.length) actions.push(group);
    tell();
    soon();
  }

  function soon() {
    clearTimeout(timer);
    if (open.length >= PORTION) send();
    else if (open.length) timer = setTimeout(send, REST);
  }

  function post(path, body) {
    return fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", [header]: "1" },
      body: JSON.stringify(body),
      keepalive: true, // what is under way arrives, also when the page is left meanwhile
    }).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message || answer.statusText);
      return answer.json();
    });
  }

  function send() {
    clearTimeout(timer);
    sending = sending.then(sendOpen, sendOpen);
    return sending;
  }

  async function sendOpen() {
    while (open.length) {
      const some = open.splice(0, PORTION);
      for (const one of some) one.sent = true;
      const decisions = some.map(({ id, to, seconds, crop }) => ({
        id, seconds, label: to, was: crop.label, task: crop.task, region: crop.region,
        annotation: crop.annotation, updated: crop.updated,
      }));
      try {
        const { results } = await post("/review/decisions", {
          project: Number(project), reviewer: Number(reviewer.value) || null, decisions,
        });
        trouble = "";
        results.forEach(take);
      } catch (error) {
        // Sent again with the same names, decisions that did arrive are not made twice.
        open.unshift(...some);
        trouble = `Not saved yet, tried again in a moment: ${error.message}`;
        tell();
        await new Promise((done) => setTimeout(done, 3000));
      }
      tell();
    }
  }

  function take(result) {
    const crop = byId.get(result.id);
    if (!crop) return;
    if (result.state === "saved") {
      saved += 1;
      crop.saved = "yes";
      for (const other of crops) {
        if (other.task !== crop.task) continue;
        other.annotation = result.annotation;
        other.updated = result.updated;
      }
    } else {
      crop.saved = "no";
      crop.reason = result.reason;
    }
    show(crop);
  }

  async function undo() {
    const group = actions.pop();
    if (!group) return;
    const back = group.filter((one) => one.sent);
    open = open.filter((one) => !group.includes(one));
    await sending;
    let results = [];
    if (back.length) {
      try {
        ({ results } = await post("/review/undo", { ids: back.map((one) => one.id) }));
      } catch (error) {
        trouble = `Not taken back: ${error.message}`;
        actions.push(group);
        tell();
        return;
      }
    }
    trouble = "";
    const told = new Map(results.map((one) => [one.id, one]));
    for (const one of group) {
      const result = told.get(one.id);
      const { crop } = one;
      if (result && result.state !== "saved" && crop.saved === "yes") {
        crop.reason = result.reason;
        crop.saved = "no";
        show(crop);
        continue;
      }
      if (one.to !== "skip") decided -= 1;
      if (crop.saved === "yes") saved -= 1;
      crop.to = one.before;
      crop.saved = "";
      crop.reason = "";
      if (result) {
        for (const other of crops) {
          if (other.task !== crop.task) continue;
          other.annotation = result.annotation;
          other.updated = result.updated;
        }
      }
      show(crop);
    }
    const place = crops.indexOf(group[0].crop);
    if (place >= 0) focus(place);
    tell();
  }

  async function rest() {
    decide(crops.filter((crop) => !crop.to), label);
    await send();
    const loading = crops.some((crop) => !crop.to && !crop.seen && !crop.blind);
    if (!loading && !crops.some((crop) => crop.saved === "no") && crops.length < total) await load();
  }

  async function load() {
    said.textContent = sort === "likeness" || like ? "Looking which crops are alike …" : "Loading …";
    const query = new URLSearchParams({ project, class: label, sort, most: 100 });
    if (every) query.set("every", every);
    if (like) query.set("like", like);
    let answer;
    try {
      answer = await fetch(`/review/crops?${query}`).then(async (one) => {
        if (!one.ok) throw new Error((await one.json().catch(() => ({}))).message || one.statusText);
        return one.json();
      });
    } catch (error) {
      said.textContent = `The crops cannot be shown: ${error.message}`;
      return;
    }
    ({ crops, total } = answer);
    actions = [];
    tiles = crops.map(tileOf);
    wall.replaceChildren(...tiles);
    crops.forEach(show);
    empty.hidden = crops.length > 0;
    tools.hidden = crops.length === 0;
    around.hidden ||= crops.length === 0;
    wall.dataset.ready = "yes";
    last = performance.now();
    if (crops.length) focus(0, { scroll: false });
    tell();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !tiles.length) return;
    if (event.target.closest("select, input, summary, a, #tools, form")) return;
    const key = keyOf(event);
    const rightward = getComputedStyle(wall).direction === "rtl" ? -1 : 1;
    const steps = { ArrowRight: rightward, ArrowLeft: -rightward, ArrowDown: columns(), ArrowUp: -columns() };
    if (key in steps) focus(at + steps[key]);
    else if (key === "Home") focus(0);
    else if (key === "End") focus(tiles.length - 1);
    else if (key in KEYS) {
      decide([crops[at]], KEYS[key]);
      if (!unseen) focus(at + 1);
    } else if (key === "z") undo();
    else if (key === "v" || (key === "Escape" && !around.hidden)) turnAround();
    else if (key === "Enter") rest();
    else if (key === "l") {
      const here = new URL(location.href);
      here.searchParams.set("like", crops[at].key);
      for (const [name, value] of Object.entries({ project, class: label })) here.searchParams.set(name, value);
      send().then(() => location.assign(here));
    } else if (key === "o") {
      window.open(`${studio}/projects/${project}/data?task=${crops[at].task}`, "_blank", "noopener");
    } else return;
    event.preventDefault();
  });

  tools.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.now === "undo") undo();
    else if (button.dataset.now === "around") turnAround();
    else if (button.dataset.now === "rest") rest();
    else {
      brush = brush === button.dataset.do ? "" : button.dataset.do;
      for (const one of tools.querySelectorAll("[data-do]")) {
        one.setAttribute("aria-pressed", String(one.dataset.do === brush));
      }
    }
  });

  around.firstElementChild.addEventListener("load", ({ target }) => {
    target.hidden = false;
    around.lastElementChild.textContent = "";
  });
  around.firstElementChild.addEventListener("error", () => {
    around.lastElementChild.textContent = "Its page cannot be shown.";
  });

  // Who reviews is kept in this browser, for the next visit.
  const key = "reviewer";
  const before = localStorage.getItem(key);
  if (before && [...reviewer.options].some((one) => one.value === before)) reviewer.value = before;
  reviewer.addEventListener("change", () => localStorage.setItem(key, reviewer.value));

  window.addEventListener("beforeunload", (event) => {
    if (open.length) {
      send();
      event.preventDefault();
    }
  });

  load();
})();

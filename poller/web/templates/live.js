// Keeps an open page as it would be if it were loaded anew; the page works without. What is shown comes from the daemon,
// made by the same templates; nothing here knows what it means, but for points in time, which go on by themselves.
"use strict";

(() => {
  const root = document.documentElement;
  const status = document.getElementById("live"), button = document.getElementById("pause");
  const AGAIN_MS = 15000;
  let ahead = Number(root.dataset.now) * 1000 - Date.now();
  let source = null, again = 0, paused = false;

  // --- times, as poller/domain/durations.py and moments.py word them, but in whole seconds ---

  const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

  function duration(seconds) {
    const parts = [];
    let rest = Math.round(seconds);
    for (const [unit, length] of UNITS) {
      if (rest >= length) parts.push(Math.floor(rest / length) + unit);
      rest %= length;
    }
    return parts.slice(0, 2).join("") || "0s";
  }

  function relative(seconds) {
    if (Math.abs(seconds) < 1) return "now";
    return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`;
  }

  function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    if (paused || document.hidden) return;
    const now = (Date.now() + ahead) / 1000;
    for (const each of document.querySelectorAll("[data-at]")) put(each, relative(Number(each.dataset.at) - now));
    for (const each of document.querySelectorAll("[data-since]")) {
      put(each, (each.dataset.about || "") + duration(Math.max(0, now - Number(each.dataset.since))));
    }
  }

  // --- changes: elements that stay are kept, and with them focus, selection and what was opened ---

  function parse(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  }

  function keyOf(node) {
    return node.dataset ? node.dataset.key : undefined;
  }

  function isAlike(one, other) {
    return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
  }

  // Attributes that are the reader's, or this script's.
  const KEPT = new Set(["open", "data-changed"]);

  // Both tell whether something differed, but for words that tick.
  function become(old, fresh) {
    let differs = false;
    if (old.nodeType !== Node.ELEMENT_NODE) {
      differs = old.data !== fresh.data;
      if (differs) old.data = fresh.data;
      return differs;
    }
    for (const { name } of [...old.attributes]) {
      if (fresh.hasAttribute(name) || KEPT.has(name)) continue;
      old.removeAttribute(name);
      differs = true;
    }
    for (const { name, value } of fresh.attributes) {
      if (KEPT.has(name) || old.getAttribute(name) === value) continue;
      old.setAttribute(name, value);
      differs = true;
    }
    const ticks = fresh.dataset.at || fresh.dataset.since;
    return (!ticks && fill(old, fresh)) || differs;
  }

  function fill(old, fresh) {
    let differs = false;
    const wanted = new Set([...fresh.children].map(keyOf)), keyed = new Map();
    for (const child of [...old.children]) {
      const key = keyOf(child);
      if (key === undefined) continue;
      if (wanted.has(key)) keyed.set(key, child);
      else child.remove();
    }
    let place = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const key = keyOf(node), same = key === undefined ? place : keyed.get(key);
      if (!same || !isAlike(same, node)) {
        // What comes while others are there opens only when the reader does it: it would push away what is read.
        if (node.localName === "details" && keyed.size) node.open = false;
        old.insertBefore(node, place);
        differs = true;
        continue;
      }
      if (same === place) place = place.nextSibling;
      else old.insertBefore(same, place);
      differs = become(same, node) || differs;
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
      differs = true;
    }
    return differs;
  }

  function list(body, changed, order) {
    const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
    for (const [key, html] of Object.entries(changed)) {
      const fresh = parse(`<table><tbody>${html}</tbody></table>`).querySelector("tr"), old = rows.get(key);
      if (!old) rows.set(key, fresh);
      if (!old || become(old, fresh)) glow(old || fresh);
    }
    if (!order) return;
    const wanted = new Set(order);
    for (const [key, row] of rows) if (!wanted.has(key)) row.remove();
    let place = body.firstElementChild;
    for (const key of order) {
      const row = rows.get(key);
      if (row && row === place) place = place.nextElementSibling;
      else if (row) body.insertBefore(row, place);
    }
  }

  function glow(row) {
    row.removeAttribute("data-changed");
    requestAnimationFrame(() => row.setAttribute("data-changed", ""));
  }

  // --- the reader's place: what is read stays where it is on the screen ---

  function placeOf() {
    const focused = document.activeElement, body = document.getElementById("rows");
    const rows = body ? [...body.rows] : [];
    const mine = rows.find((row) => row.contains(focused));
    const anchor = mine || (window.scrollY > 0 ? rows.find((row) => row.getBoundingClientRect().bottom > 0) : null);
    return { focused, anchor, top: anchor ? anchor.getBoundingClientRect().top : 0, scrolled: window.scrollY > 0 };
  }

  function restore({ focused, anchor, top, scrolled }) {
    if (anchor && anchor.isConnected && scrolled) window.scrollBy(0, anchor.getBoundingClientRect().top - top);
    if (!focused || document.activeElement === focused || focused === document.body) return;
    if (focused.isConnected) focused.focus({ preventScroll: true });
    else (document.getElementById("tasks") || document.getElementById("content")).focus({ preventScroll: true });
  }

  function show(message) {
    const place = placeOf();
    ahead = message.now * 1000 - Date.now();
    document.title = message.title;
    for (const [id, html] of Object.entries(message.parts || {})) {
      const part = document.getElementById(id);
      if (part) fill(part, parse(html));
    }
    const body = document.getElementById("rows");
    if (body && (message.rows || message.order)) list(body, message.rows || {}, message.order);
    restore(place);
    const exact = new Date(message.now * 1000).toISOString(), asOf = document.getElementById("as-of");
    asOf.setAttribute("datetime", exact);
    put(asOf, `${exact.slice(0, 10)} ${exact.slice(11, 19)} UTC`);
    say("Live", "on");
    tick();
  }

  // --- the stream ---

  function say(text, state) {
    put(status, text);
    status.dataset.state = state;
  }

  function leave() {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  }

  function follow() {
    leave();
    if (paused || document.hidden) return;
    source = new EventSource(root.dataset.live);
    source.addEventListener("page", (event) => show(JSON.parse(event.data)));
    source.addEventListener("trouble", (event) => say(`Not up to date: ${event.data}`, "off"));
    source.onerror = () => {
      const closed = source.readyState === EventSource.CLOSED;
      say(closed ? "Not live: refused for now" : "Not live: connecting again", "off");
      if (closed) again = setTimeout(follow, AGAIN_MS);
    };
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    put(button, paused ? "Go on" : "Pause");
    if (paused) say("Paused", "off");
    follow();
  });
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => event.persisted && follow());
  setInterval(tick, 1000);
  follow();
})();

// Renews the parts of a page that are marked with data-live when a run changes; without a socket, every five seconds.
// The page itself is loaded again by XMLHttpRequest, which parses it into a document without any HTML sink.
import { connected, listen } from "./events.js";

const pause = 1000;
const slow = 5000;
const terminal = new Set(["succeeded", "failed", "errored", "aborted", "cancelled"]);
const followed = document.querySelector("[data-follow]")?.dataset.follow;
let timer = null;
let isLoading = false;
let isAsked = false;
let last = 0;

function renew() {
  if (isLoading || document.hidden) {
    isAsked = true;
    return;
  }
  isLoading = true;
  isAsked = false;
  last = Date.now();
  const request = new XMLHttpRequest();
  request.open("GET", location.pathname + location.search);
  request.responseType = "document";
  request.setRequestHeader("X-Requested-With", "XMLHttpRequest"); // what is said once is for the page that people load
  request.timeout = slow;
  request.onload = () => {
    if (request.status !== 200 || request.responseXML === null) return;
    if (new URL(request.responseURL).pathname !== location.pathname) location.reload();
    else replace(request.responseXML);
  };
  request.onloadend = () => {
    isLoading = false;
    if (isAsked) ask();
  };
  request.send();
}

function replace(fresh) {
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now === null || now.isEqualNode(old)) continue;
    if (old.querySelector("details[open]") || old.contains(document.activeElement)) {
      isAsked = true;
      continue;
    }
    old.replaceWith(document.adoptNode(now));
  }
}

function ask() {
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    renew();
  }, Math.max(50, last + pause - Date.now()));
}

listen({
  open(send) {
    send({ subscribe: "runs" });
    ask();
  },
  text(message) {
    if (message.type === "missed") ask();
    else if (message.type === "run" && (!followed || message.run.id === followed)) {
      ask();
      if (terminal.has(message.run.status)) document.dispatchEvent(new CustomEvent("run-ended", { detail: message.run }));
    }
  },
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && isAsked) ask(); });
document.addEventListener("focusout", () => { if (isAsked) ask(); });
setInterval(() => { if (!connected()) ask(); }, slow);
// What no event tells of, such as workers that come and go, asks for its own pace.
const pace = Math.min(...[...document.querySelectorAll("[data-every]")].map((part) => Number(part.dataset.every)));
if (Number.isFinite(pace)) setInterval(ask, pace * 1000);

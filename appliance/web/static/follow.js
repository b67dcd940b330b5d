// Follows the log of a run: appends bytes as they come, each exactly once, whatever happens to the connection.
import { connected, listen } from "./events.js";
import { read as readStyle, spans } from "./ansi.js";

const box = document.querySelector("[data-follow]");
const state = document.getElementById("follow-state");
const ends = document.querySelectorAll(".follow-end");
const run = box.dataset.follow;
const kept = 5000; // rows in the page; earlier ones are a link away
const held = 65536; // characters kept of a line that has not ended
const longest = 16384; // characters shown of a line
const decoder = new TextDecoder("utf-8");
let offset = Number(box.dataset.offset);
let rest = "";
let style = readStyle(box.dataset.style); // in which the line begins that has not ended
let isDone = false;
let isReading = false;
let hasDropped = false;
// The row of the line that has not ended. Its bytes come again from its beginning, and then its row is made anew.
let open = "partial" in box.dataset ? box.lastElementChild : null;
let number = Number((open ?? box.lastElementChild)?.querySelector(".at")?.dataset.n ?? 0);
if (open === null && number > 0) number += 1; // of the next row; 0 = rows are not numbered here

function id(view) {
  let hex = "";
  for (let at = 0; at < 16; at += 1) hex += view.getUint8(at).toString(16).padStart(2, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// On the page of a run the log stands in a box that keeps to its end by itself; elsewhere the page is what scrolls.
const page = box.closest(".tail") === null ? document.scrollingElement : null;

function isAtEnd() {
  return page !== null && page.scrollHeight - page.scrollTop - page.clientHeight < 60;
}

function toEnd() {
  if (page !== null) page.scrollTop = page.scrollHeight;
}

function cut(line) {
  const made = document.createElement("i");
  made.className = "cut";
  made.textContent = `… ${line.length - longest} more characters in this line: see the raw log`;
  return made;
}

// The row of a line that begins in `style`, which then is the style after it.
function row(line, ending) {
  const made = document.createElement("span");
  made.className = "row";
  if (number > 0) {
    const at = document.createElement("a");
    at.className = "at";
    at.href = `#L${number}`;
    at.dataset.n = number;
    at.tabIndex = -1;
    at.ariaLabel = `Line ${number}`;
    made.id = `L${number}`;
    made.append(at);
  }
  const shown = spans(line.slice(0, longest), style);
  for (const span of shown.spans) {
    if (span.style === "") made.append(span.text);
    else {
      const piece = document.createElement("span");
      piece.className = span.style;
      piece.textContent = span.text;
      made.append(piece);
    }
  }
  if (line.length > longest) made.append(cut(line));
  made.append(ending);
  style = shown.style;
  return made;
}

function show(text) {
  const stays = isAtEnd();
  const lines = (rest + text).split("\n");
  rest = lines.pop();
  const again = rest.length > longest ? rest.lastIndexOf("\r", rest.length - 2) : -1;
  if (again >= 0) { // progress that overwrites itself
    style = spans(rest.slice(0, again), style).style;
    rest = rest.slice(again + 1);
  }
  if (rest.length > held) rest = rest.slice(0, held);
  if (open !== null) open.remove();
  open = null;
  const fresh = document.createDocumentFragment();
  if (lines.length > kept) {
    hasDropped = true;
    if (number > 0) number += lines.length - kept;
    for (const line of lines.splice(0, lines.length - kept)) style = spans(line.slice(0, longest), style).style;
  }
  for (const line of lines) {
    fresh.append(row(line, "\n"));
    if (number > 0) number += 1;
  }
  if (rest !== "") {
    const begun = style;
    open = row(rest, "");
    style = begun; // its row is made anew when more of it comes
    fresh.append(open);
  }
  box.append(fresh);
  while (box.childElementCount > kept) {
    box.firstElementChild.remove();
    hasDropped = true;
  }
  for (const end of ends) end.textContent = String(offset);
  state.textContent = hasDropped ? "Following. Earlier lines are in the whole log." : "Following.";
  if (stays) toEnd();
}

// Bytes that begin at `from`; answers false when some before them are missing.
function take(from, bytes) {
  if (from > offset) return false;
  const known = offset - from;
  if (known < bytes.length) {
    offset = from + bytes.length;
    show(decoder.decode(bytes.subarray(known), { stream: true }));
  }
  return true;
}

// Without a socket, or to fill a gap: plain ranged reads, which work everywhere.
async function read() {
  if (isReading || isDone) return;
  isReading = true;
  try {
    for (;;) {
      const answer = await fetch(`/api/v1/runs/${run}/log?offset=${offset}&limit=1048576`);
      if (!answer.ok) break;
      const bytes = new Uint8Array(await answer.arrayBuffer());
      take(offset, bytes);
      if (answer.headers.get("Orchestra-Log-Complete") === "true" && offset >= Number(answer.headers.get("Orchestra-Log-Size"))) {
        isDone = true;
        state.textContent = offset === 0 ? "This run wrote nothing." : "This is the whole log.";
      }
      if (bytes.length === 0 || isDone) break;
    }
  } catch (error) {
    state.textContent = "The server does not answer; trying again.";
  } finally {
    isReading = false;
  }
}

listen({
  open(send) {
    state.textContent = "Following.";
    send({ subscribe: "log", run, offset });
    this.send = send;
  },
  bytes(buffer) {
    const view = new DataView(buffer);
    if (buffer.byteLength < 24 || id(view) !== run) return;
    const from = Number(view.getBigUint64(16));
    if (!take(from, new Uint8Array(buffer, 24))) this.send({ subscribe: "log", run, offset });
  },
  text(message) {
    if (message.type === "log_end" && message.run === run) read();
  },
  close() {
    if (!isDone) state.textContent = "The connection was interrupted; trying again.";
  },
});
document.addEventListener("run-ended", (event) => { if (event.detail.id === run) read(); });
setInterval(() => { if (!connected()) read(); }, 2000);
toEnd();

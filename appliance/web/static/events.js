// The one connection to the server's events, shared by the scripts of a page. It comes back after any interruption.
const first = 500;
const most = 30000;
const listeners = new Set();
let socket = null;
let delay = first;
let isOpen = false;

// Listener: { open(send), text(message), bytes(buffer), close() }; each is optional.
export function listen(listener) {
  listeners.add(listener);
  if (socket === null) connect();
  else if (isOpen) listener.open?.(send);
}

export function connected() {
  return isOpen;
}

function send(message) {
  if (isOpen) socket.send(JSON.stringify(message));
}

function each(name, argument) {
  for (const listener of listeners) listener[name]?.(argument);
}

function connect() {
  const address = new URL("/api/v1/events", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    isOpen = true;
    delay = first;
    each("open", send);
  };
  socket.onmessage = (event) => {
    if (typeof event.data === "string") each("text", JSON.parse(event.data));
    else each("bytes", event.data);
  };
  socket.onclose = () => {
    if (isOpen) each("close");
    isOpen = false;
    setTimeout(connect, delay * (0.5 + Math.random() / 2));
    delay = Math.min(delay * 2, most);
  };
}

// What a page has told the server is told again after a lost connection, until it was heard.
//
// A dying socket takes along what was just written to it: a field would show what was typed, and the
// next click would act on what stood there before. Events are numbered, so that the server
// (sockets.py) handles each once, whether it was the event that got lost or the answer to it. They
// keep their order: what a field holds comes before the click that uses it.
//
// A page that the server has forgotten meanwhile is loaded again by NiceGUI, and says so.
{
  // Bytes of an event. NiceGUI puts a line for the log, which nobody acknowledges, in the place of a
  // message of more than 999,900 characters; the server closes a socket for one of more than 2^20 bytes
  // (FRAME_BYTES in server.py). Either would be told again without end.
  const LONGEST = 999_000;
  const TOLD_WITHIN_MS = 60_000; // later, a page is one that a person opens
  const open = window.io;
  window.io = (address, options) => {
    const socket = open(address, options);
    const emit = socket.emit.bind(socket);
    const unheard = []; // the oldest first
    let count = 0;

    const tell = (event) =>
      emit("event", event, () => {
        while (unheard[0]?.nth <= event.nth) unheard.shift();
      });

    // As NiceGUI shows it.
    const refuse = () => {
      const popup = document.getElementById("too_long_message_popup");
      popup.ariaHidden = false;
      clearTimeout(window.tooLongMessageTimerId);
      window.tooLongMessageTimerId = setTimeout(() => (popup.ariaHidden = true), 5000);
    };

    socket.emit = (name, ...rest) => {
      if (name !== "event") return emit(name, ...rest);
      const event = { ...rest[0], document: window.documentId, nth: count + 1 };
      if (new Blob([JSON.stringify(event)]).size > LONGEST) return refuse();
      count += 1;
      unheard.push(event);
      return tell(event);
    };

    socket.on("disconnect", () => {
      // Sent before anything else on the next connection. What waits there is unheard, too, and
      // would come before what is older.
      socket.sendBuffer = socket.sendBuffer.filter((packet) => packet.data[0] !== "event");
      unheard.forEach(tell);
      // A page that was fetched in advance makes itself known after it has sent what waits.
      options.query.implicit_handshake = true;
    });

    // What NiceGUI loads a page again for; this comes before its own handlers.
    const mark = () => {
      if (count > 0) sessionStorage.assayLoadedAgain = JSON.stringify([location.pathname, Date.now()]);
    };
    socket.on("connect_error", (error) => {
      if (["Implicit handshake failed", "timeout"].includes(error.message)) mark();
    });
    socket.on("run_javascript", (message) => {
      if (message.code.includes("reloading because outbox rewind failed")) mark();
    });
    socket.once("connect", () => {
      const [path, since] = JSON.parse(sessionStorage.assayLoadedAgain ?? "[]");
      delete sessionStorage.assayLoadedAgain;
      // Else it led elsewhere, to the sign-in page or to an error of the browser.
      if (path !== location.pathname || Date.now() - since > TOLD_WITHIN_MS) return;
      Quasar.Notify.create({
        message: "The connection was lost for too long: this page was loaded again, without what was not saved.",
        type: "warning", position: "top", timeout: 0, multiLine: true, classes: "notice",
        actions: [{ label: "Close", color: "inherit" }],
      });
    });
    return socket;
  };
}

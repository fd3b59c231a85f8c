// What a page has told the server is told again after a lost connection, until it was heard.
//
// A dying socket takes along what was just written to it: a field would show what was typed, and the
// next click would act on what stood there before. Events are numbered, so that the server
// (sockets.py) handles each once, whether it was the event that got lost or the answer to it. They
// keep their order: what a field holds comes before the click that uses it.
//
// A page that the server has forgotten meanwhile is loaded again by NiceGUI, and says so.
{
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

    socket.emit = (name, ...rest) => {
      if (name !== "event") return emit(name, ...rest);
      const event = { ...rest[0], document: window.documentId, nth: ++count };
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

    socket.on("connect_error", (error) => {
      const isLoadedAgain = ["Implicit handshake failed", "timeout"].includes(error.message);
      if (isLoadedAgain && count > 0) sessionStorage.assayLoadedAgain = "yes";
    });
    socket.once("connect", () => {
      if (!sessionStorage.assayLoadedAgain) return;
      delete sessionStorage.assayLoadedAgain;
      Quasar.Notify.create({
        message: "The connection was lost for too long: this page was loaded again, without what was not saved.",
        type: "warning", position: "top", timeout: 0, multiLine: true, classes: "notice",
        actions: [{ label: "Close", color: "inherit" }],
      });
    });
    return socket;
  };
}

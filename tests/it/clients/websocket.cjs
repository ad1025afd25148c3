// Gives an older Node the WebSocket that browsers and newer ones have.
globalThis.WebSocket ??= require("ws");

// The colours of the replay. replay.css has them, for light and dark pages; a canvas wants them as text.

import { HOT_CLIENTS } from "./replay_layout.js";

export const REST = HOT_CLIENTS; // clients that have no colour of their own
export const ANSWERED = HOT_CLIENTS + 1;
export const FAILED = HOT_CLIENTS + 2;
export const COLOURS = HOT_CLIENTS + 3;

/** Returns the colour of a client. Clients are numbered by their requests, the busiest first. */
export const colourOfClient = (client) => Math.min(client, REST);

const NAMES = ["text", "faint", "line", "page", "soft", "alarm", "event", "left", "right", "rate"];

/** Returns name -> colour, and `dots`: one colour for each number above, as the page has them now. */
export function readColours(root) {
  const style = getComputedStyle(root);
  const value = (name) => style.getPropertyValue(`--replay-${name}`).trim();
  const dots = Array.from({ length: HOT_CLIENTS }, (_, number) => value(`client-${number}`));
  dots.push(value("rest"), value("answered"), value("failed"));
  return { dots, ...Object.fromEntries(NAMES.map((name) => [name, value(name)])) };
}

/** Returns what gives a request its colour, by the reader's choice: "client", "session" or "outcome". */
export function colouring(record, by) {
  const { client, session, code } = record.requests;
  if (by === "outcome") return (row) => (code[row] ? FAILED : ANSWERED);
  if (by === "session") return (row) => (client[row] + session[row]) % HOT_CLIENTS;
  return (row) => colourOfClient(client[row]);
}

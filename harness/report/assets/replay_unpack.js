// Reads what harness/report/replay_data.py has packed. Times are whole quanta from the start of measuring.

/** Returns the bytes of one number in LEB128 after another. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.place = 0;
  }

  number() {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.bytes[this.place++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  /** Returns the next `count` numbers. */
  column(count) {
    const values = new Int32Array(count);
    for (let row = 0; row < count; row++) values[row] = this.number();
    return values;
  }

  /** Returns the next `count` numbers, which are in zigzag. */
  signedColumn(count) {
    const values = new Int32Array(count);
    for (let row = 0; row < count; row++) {
      const value = this.number();
      values[row] = value % 2 ? -(value + 1) / 2 : value / 2;
    }
    return values;
  }
}

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns the columns as they were packed: differences, not times. */
function readColumns(bytes, arm) {
  const reader = new Reader(bytes);
  const { requests, stays, messages } = arm;
  return {
    sent: reader.signedColumn(requests),
    client: reader.column(requests),
    session: reader.column(requests),
    method: reader.column(requests),
    code: reader.column(requests),
    proxy: reader.column(requests),
    node: reader.column(requests),
    toward: reader.column(requests),
    stays: reader.column(requests),
    messages: reader.column(requests),
    done: reader.signedColumn(requests),
    replica: reader.column(stays),
    arrived: reader.signedColumn(stays),
    waited: reader.column(stays),
    served: reader.column(stays),
    messageSent: reader.signedColumn(messages),
    messageTook: reader.signedColumn(messages),
  };
}

/**
 * Unpacks the requests of one arm.
 *
 * requests: by the time of sending; proxy, node (of the proxy, one of several) and toward are -1 where not known;
 * firstStay[n] to firstStay[n + 1] are the rows of request n in stays, and so with firstMessage. stays: attempts at a replica. A unary request
 * waits from arrived to started and holds a slot until finished; a stream is open from arrived to finished.
 */
export async function unpack(arm) {
  const columns = readColumns(await inflate(arm.data), arm);
  const requests = {
    count: arm.requests,
    client: columns.client,
    session: columns.session,
    method: columns.method,
    code: columns.code,
    sent: columns.sent,
    proxy: columns.proxy,
    node: columns.node.map((node) => node - 1),
    toward: columns.toward.map((replica) => replica - 1),
    done: columns.done,
    firstStay: new Int32Array(arm.requests + 1),
    firstMessage: new Int32Array(arm.requests + 1),
  };
  const stays = {
    count: arm.stays,
    request: new Int32Array(arm.stays),
    replica: columns.replica,
    arrived: columns.arrived,
    started: columns.waited,
    finished: columns.served,
  };
  const messages = { count: arm.messages, sent: columns.messageSent, received: columns.messageTook };
  addUp(requests, stays, messages, columns);
  return { requests, stays, messages };
}

/** Turns the differences into times, in place. */
function addUp(requests, stays, messages, columns) {
  let sent = 0;
  let stay = 0;
  let message = 0;
  for (let row = 0; row < requests.count; row++) {
    sent += requests.sent[row];
    requests.sent[row] = sent;
    requests.proxy[row] = requests.proxy[row] ? sent + requests.proxy[row] - 1 : -1;
    let at = requests.proxy[row] < 0 ? sent : requests.proxy[row];
    let last = sent;
    for (const end = stay + columns.stays[row]; stay < end; stay++) {
      stays.request[stay] = row;
      stays.arrived[stay] += at;
      stays.started[stay] += stays.arrived[stay];
      stays.finished[stay] += stays.started[stay];
      at = last = stays.finished[stay];
    }
    requests.firstStay[row + 1] = stay;
    requests.done[row] += last;
    let before = sent;
    for (const end = message + columns.messages[row]; message < end; message++) {
      messages.sent[message] += before;
      messages.received[message] += messages.sent[message];
      before = messages.sent[message];
    }
    requests.firstMessage[row + 1] = message;
  }
}

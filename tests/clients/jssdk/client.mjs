// Users of matrix-js-sdk, told what to do by the Go test on standard input and
// telling it what they see on standard output, one JSON object per line; see
// program_test.go. Usage: node client.mjs <URL of the homeserver>

import "./node20.mjs";
import more from "./acts.mjs";
import { createInterface } from "node:readline";
import { ClientEvent, EventStatus, Filter, MemoryStore, SyncState, createClient } from "matrix-js-sdk";

const baseUrl = process.argv[2];
const users = new Map(); // name in the test → MatrixClient

const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

// The acts of a user. Each gets the user's client and the arguments of the test.
const acts = {
  ...more,

  async register(_, { user, password }) {
    const anonymous = createClient({ baseUrl });
    const request = { username: user, password, initial_device_display_name: "js-sdk" };
    let session;
    try {
      await anonymous.registerRequest(request);
      throw new Error("the server registers without asking for m.login.dummy");
    } catch (err) {
      if (!err.data?.flows?.some((flow) => flow.stages.join() === "m.login.dummy")) throw err;
      session = err.data.session;
    }
    const auth = { type: "m.login.dummy", session };
    return become(this.as, await anonymous.registerRequest({ ...request, auth }));
  },

  async login(_, { user, password }) {
    const anonymous = createClient({ baseUrl });
    const identifier = { type: "m.id.user", user };
    return become(this.as, await anonymous.loginRequest({ type: "m.login.password", identifier, password }));
  },

  logout: (client) => client.logout(),
  whoami: (client) => client.whoami(),

  // sync answers when the first /sync has been processed. After stop it goes on
  // from where it was. The limit is of events in a timeline.
  sync: (client, { limit }) =>
    new Promise((resolve, reject) => {
      client.on(ClientEvent.Sync, (state, _, data) => {
        if (state === SyncState.Prepared) resolve();
        if (state === SyncState.Error) reject(data.error);
        // The SDK waits for some seconds before it looks whether the server is back.
        if (state === SyncState.Reconnecting) setTimeout(() => client.retryImmediately(), 50);
      });
      const filter = new Filter(client.getUserId());
      filter.setTimelineLimit(limit);
      filter.setUnreadThreadNotifications(true);
      client.startClient({ filter, initialSyncLimit: limit, threadSupport: true }).catch(reject);
    }),

  stop(client) {
    client.stopClient();
    client.removeAllListeners(ClientEvent.Sync);
  },

  createRoom: (client, { content }) => client.createRoom(content),
  invite: (client, { room, user }) => client.invite(room, user),
  join: (client, { room }) => client.joinRoom(room).then(({ roomId: room_id }) => ({ room_id })),
  leave: (client, { room }) => client.leave(room),
  kick: (client, { room, user, reason }) => client.kick(room, user, reason),
  ban: (client, { room, user, reason }) => client.ban(room, user, reason),
  unban: (client, { room, user }) => client.unban(room, user),

  // send sends again what the SDK shows as not sent. What came back by /sync was
  // sent, even if the answer was lost.
  send(client, { room, body, txn }) {
    const inRoom = client.getRoom(room);
    const before = inRoom?.getLiveTimeline().getEvents().find((event) => event.getTxnId() === txn);
    if (!before) return client.sendMessage(room, null, { msgtype: "m.text", body }, txn);
    if (before.status === EventStatus.NOT_SENT) return client.resendEvent(before, inRoom);
    return { event_id: before.getId() };
  },

  redact: (client, { room, event, reason }) => client.redactEvent(room, event, undefined, { reason }),
  setName: (client, { name }) => client.setDisplayName(name),

  // fill reads what limited timelines left out.
  async fill(client, { room }) {
    for (let timeline = client.getRoom(room).getLiveTimeline(); timeline; timeline = timeline.getNeighbouringTimeline("b"))
      while (timeline.getPaginationToken("b")) await client.paginateEventTimeline(timeline, { backwards: true, limit: 7 });
  },

  // The rest is what the SDK made of all that it has seen.

  timeline(client, { room }) {
    const events = [];
    for (let timeline = client.getRoom(room).getLiveTimeline(); timeline; timeline = timeline.getNeighbouringTimeline("b"))
      events.unshift(...timeline.getEvents());
    return events
      .filter((event) => event.status !== EventStatus.NOT_SENT)
      .map((event) => ({
        event_id: event.getId(),
        type: event.getType(),
        body: event.getContent().body,
        redacted: event.isRedacted(),
      }));
  },

  members: (client, { room }) =>
    client
      .getRoom(room)
      .getMembers()
      .map((member) => ({ user_id: member.userId, membership: member.membership, name: member.rawDisplayName })),
};

// Store keeps the sync token over stop and sync, as the stores in browsers do.
class Store extends MemoryStore {
  getSavedSyncToken() {
    return Promise.resolve(this.getSyncToken());
  }
}

function become(name, { user_id: userId, device_id: deviceId, access_token: accessToken }) {
  const client = createClient({ baseUrl, userId, deviceId, accessToken, store: new Store(), timelineSupport: true });
  users.set(name, client);
  // The SDK may tell of a thing before it is done with it.
  let stirred = false;
  const emit = client.emit;
  client.emit = function (...args) {
    if (!stirred) {
      stirred = true;
      setImmediate(() => {
        stirred = false;
        say({ as: name, stirred: true });
      });
    }
    return emit.apply(this, args);
  };
  client.on(ClientEvent.Event, (event) => {
    if (event.getRoomId()) say({ as: name, saw: event.getEffectiveEvent() });
  });
  return { user_id: userId, device_id: deviceId };
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, as, act, ...rest } = JSON.parse(line);
  try {
    say({ id, result: (await acts[act].call({ as }, users.get(as), rest)) ?? {} });
  } catch (err) {
    say({ id, error: { errcode: err.errcode, status: err.httpStatus, message: String(err.stack ?? err) } });
  }
});
lines.on("close", () => process.exit());

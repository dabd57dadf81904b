// What the stories of apps have in common; see stories.mjs.

import "./node20.mjs";
import { SyncState, createClient } from "matrix-js-sdk";

const baseUrl = process.argv[2];

export const password = "rain, rain, come again";

// until resolves with what the condition returns once that is true. It looks again
// whenever the SDK tells the app of anything.
export function until(client, condition) {
  return new Promise((resolve, reject) => {
    const finish = (settle, value) => {
      clearTimeout(timer);
      client.lookouts.delete(look);
      settle(value);
    };
    const look = () => {
      try {
        const result = condition();
        if (result) finish(resolve, result);
      } catch (err) {
        finish(reject, err);
      }
    };
    const timer = setTimeout(() => finish(reject, new Error(`never true: ${condition}`)), 15_000);
    client.lookouts.add(look);
    look();
  });
}

// soon asks again until the answer is as wanted, for what the server does after it
// has answered.
export async function soon(ask, wanted) {
  for (const end = Date.now() + 15_000; ; ) {
    const answer = await ask();
    if (wanted(answer)) return answer;
    if (Date.now() > end) throw new Error(`never true: ${wanted}, last of ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// open is an app with a session.
export function open({ user_id: userId, device_id: deviceId, access_token: accessToken }, options = {}) {
  const client = createClient({ baseUrl, userId, deviceId, accessToken, timelineSupport: true, ...options });
  client.lookouts = new Set();
  const emit = client.emit;
  client.emit = function (...args) {
    // The SDK may tell of a thing before it is done with it.
    setImmediate(() => client.lookouts.forEach((look) => look()));
    return emit.apply(this, args);
  };
  return client;
}

// sync starts to sync, without sliding sync, and waits for the first answer.
export async function sync(client, options = {}) {
  await client.startClient({ initialSyncLimit: 20, threadSupport: true, ...options });
  await until(client, () => client.getSyncState() === SyncState.Syncing);
  return client;
}

// register makes an account and returns its session.
export async function register(username) {
  const anonymous = createClient({ baseUrl });
  const auth = await anonymous.registerRequest({ username, password }).then(
    () => Promise.reject(new Error("registered without a dialogue")),
    (err) => ({ type: "m.login.dummy", session: err.data.session }),
  );
  return anonymous.registerRequest({ username, password, auth });
}

// login makes another device of the user, which syncs.
export async function login(of, options) {
  const identifier = { type: "m.id.user", user: of.getUserId() };
  const session = await createClient({ baseUrl }).loginRequest({ type: "m.login.password", identifier, password });
  return sync(open(session), options);
}

// meet has the first invite the others to a room, who join.
export async function meet([first, ...others], options = {}) {
  const { room_id: roomId } = await first.createRoom({ preset: "private_chat", invite: others.map((other) => other.getUserId()), ...options });
  for (const other of others) {
    await until(other, () => other.getRoom(roomId));
    await other.joinRoom(roomId);
  }
  for (const one of [first, ...others]) await until(one, () => one.getRoom(roomId)?.getJoinedMemberCount() === others.length + 1);
  return roomId;
}

// sends sends a text message, or a longer content, and returns the event as each
// of the readers sees it.
export async function sends(sender, roomId, content, ...readers) {
  if (typeof content === "string") content = { msgtype: "m.text", body: content };
  const { event_id: id } = await sender.sendMessage(roomId, null, content);
  return Promise.all(readers.map((reader) => until(reader, () => reader.getRoom(roomId).findEventById(id))));
}

// answers says something in the thread of a message, and returns its event ID. An
// app opens a thread before anything is said there.
export async function answers(sender, roomId, root, body) {
  const room = sender.getRoom(roomId);
  if (!room.getThread(root.getId())) room.createThread(root.getId(), room.findEventById(root.getId()), [], true);
  try {
    const { event_id: id } = await sender.sendMessage(roomId, root.getId(), { msgtype: "m.text", body });
    return id;
  } catch (err) {
    // Where /sync has the message before its PUT is answered, the SDK may take it for
    // one that failed, although it is there.
    if (!err.message.includes("not a local echo")) throw err;
    const sent = (event) => event.getContent().body === body && event.getId().startsWith("$");
    return (await until(sender, () => room.getThread(root.getId()).liveTimeline.getEvents().find(sent))).getId();
  }
}

// bodies are the texts of the messages in the timeline of a room or thread.
export const bodies = (of) => ofType(of, "m.room.message").map((event) => event.getContent().body);

export const ofType = (of, type) => (of.liveTimeline ?? of.getLiveTimeline()).getEvents().filter((event) => event.getType() === type);

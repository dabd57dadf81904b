// An app on matrix-js-sdk, as its author would write it: what it shows comes from
// the SDK's own rooms, members and timelines. It prints each chapter that came
// true, and ends with an error at the first that did not.
// Usage: node story.mjs <URL of the homeserver>

import "./node20.mjs";
import assert from "node:assert/strict";
import { ClientEvent, EventType, MsgType, RoomEvent, RoomMemberEvent, SyncState, createClient } from "matrix-js-sdk";

const baseUrl = process.argv[2];
const chapter = (sentence) => process.stdout.write(`${sentence}\n`);

// until resolves when the condition holds, looking again at each of the events.
function until(client, events, condition) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      events.forEach((event) => client.off(event, look));
    };
    const look = () => {
      const result = condition();
      if (!result) return;
      stop();
      resolve(result);
    };
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`never true: ${condition}`));
    }, 15_000);
    events.forEach((event) => client.on(event, look));
    look();
  });
}

async function arrive(username, displayName) {
  const password = "rain, rain, come again";
  const anonymous = createClient({ baseUrl });
  const auth = await anonymous.registerRequest({ username, password }).then(
    () => assert.fail("registered without a dialogue"),
    (err) => ({ type: "m.login.dummy", session: err.data.session }),
  );
  const registered = await anonymous.registerRequest({ username, password, auth });
  const client = createClient({
    baseUrl,
    userId: registered.user_id,
    deviceId: registered.device_id,
    accessToken: registered.access_token,
  });
  await client.setDisplayName(displayName);
  await client.startClient({ initialSyncLimit: 5 });
  await until(client, [ClientEvent.Sync], () => client.getSyncState() === SyncState.Syncing);
  return client;
}

const bodies = (room) =>
  room
    .getLiveTimeline()
    .getEvents()
    .filter((event) => event.getType() === EventType.RoomMessage)
    .map((event) => event.getContent().body);

const alice = await arrive("storyalice", "Alice");
const bob = await arrive("storybob", "Bob");
chapter("two users register and sync");

const { room_id: roomId } = await alice.createRoom({ preset: "trusted_private_chat", is_direct: true, invite: [bob.getUserId()] });
const invited = await until(bob, [ClientEvent.Room, RoomEvent.MyMembership], () => bob.getRoom(roomId));
assert.equal(invited.getMyMembership(), "invite");
assert.equal(invited.getDMInviter(), alice.getUserId());
assert.equal(invited.name, "Alice");
chapter("an invite to a direct chat is named after who invites");

await bob.joinRoom(roomId);
await until(bob, [RoomEvent.MyMembership], () => bob.getRoom(roomId).getMyMembership() === "join");
await until(alice, [RoomMemberEvent.Membership], () => alice.getRoom(roomId)?.getMember(bob.getUserId())?.membership === "join");
const [hers, his] = [alice.getRoom(roomId), bob.getRoom(roomId)];
await until(alice, [RoomEvent.Name, ClientEvent.Sync], () => hers.name === "Bob");
await until(bob, [RoomEvent.Name, ClientEvent.Sync], () => his.name === "Alice");
assert.equal(hers.getJoinedMemberCount(), 2);
assert.equal(his.getJoinedMemberCount(), 2);
chapter("each sees the room under the name of the other");

const echoes = [];
hers.on(RoomEvent.LocalEchoUpdated, (event) => echoes.push(event.status));
const { event_id: first } = await alice.sendMessage(roomId, { msgtype: MsgType.Text, body: "drop 1" });
await until(alice, [RoomEvent.LocalEchoUpdated], () => hers.findEventById(first)?.status === null);
assert.equal(echoes.at(-1), null); // after "sent" or, if /sync is faster than the answer, at once
assert.deepEqual(bodies(hers), ["drop 1"]);
chapter("a local echo becomes the event, and is shown once");

await until(bob, [RoomEvent.Timeline], () => his.findEventById(first));
assert.equal(his.findEventById(first).sender.name, "Alice");
await alice.setDisplayName("Alice in Rain");
await until(bob, [RoomMemberEvent.Name], () => his.getMember(alice.getUserId()).name === "Alice in Rain");
await until(bob, [RoomEvent.Name, ClientEvent.Sync], () => his.name === "Alice in Rain");
const { event_id: second } = await alice.sendMessage(roomId, { msgtype: MsgType.Text, body: "drop 2" });
await until(bob, [RoomEvent.Timeline], () => his.findEventById(second));
assert.equal(his.findEventById(first).sender.name, "Alice");
assert.equal(his.findEventById(second).sender.name, "Alice in Rain");
chapter("a new display name renames the sender from then on, and the room");

for (let i = 3; i <= 30; i++) await alice.sendMessage(roomId, { msgtype: MsgType.Text, body: `drop ${i}` });
await until(bob, [RoomEvent.Timeline], () => bodies(his).includes("drop 30"));
bob.stopClient();
const phone = createClient({ baseUrl, userId: bob.getUserId(), deviceId: bob.getDeviceId(), accessToken: bob.getAccessToken() });
await phone.startClient({ initialSyncLimit: 5 });
const paged = await until(phone, [ClientEvent.Room, ClientEvent.Sync], () => phone.getSyncState() && phone.getRoom(roomId));
assert.deepEqual(bodies(paged), ["drop 26", "drop 27", "drop 28", "drop 29", "drop 30"]);
while (paged.getLiveTimeline().getPaginationToken("b")) await phone.scrollback(paged, 10);
assert.deepEqual(bodies(paged), Array.from({ length: 30 }, (_, i) => `drop ${i + 1}`));
assert.equal(paged.getLiveTimeline().getEvents()[0].getType(), EventType.RoomCreate);
chapter("scrolling back reaches the creation of the room, without gaps or doubles");

await alice.sendMessage(roomId, {
  msgtype: MsgType.Text,
  body: "* drip 2",
  "m.new_content": { msgtype: MsgType.Text, body: "drip 2" },
  "m.relates_to": { rel_type: "m.replace", event_id: second },
});
const shows = (found) => found.results.map((result) => result.context.getEvent().getContent().body);
const found = await phone.searchRoomEvents({ term: "DROP", filter: { limit: 12, rooms: [roomId] } });
while (found.next_batch) await phone.backPaginateRoomEventsSearch(found);
const numbers = [30, ...Array.from({ length: 27 }, (_, i) => 29 - i), 1];
assert.deepEqual(shows(found), numbers.map((i) => `drop ${i}`));
assert.deepEqual([...found.highlights], ["drop"]);
assert.deepEqual(
  found.results[3].context.getTimeline().map((event) => event.getContent().body),
  ["drop 26", "drop 27", "drop 28"],
);
const edited = await phone.searchRoomEvents({ term: "drip" });
assert.deepEqual(shows(edited), ["drip 2"]);
assert.equal(edited.results[0].context.getEvent().getId(), second);
chapter("a search finds what was said, page by page, and edits as what they say");

const slip = paged.getLiveTimeline().getEvents().at(-1);
await alice.redactEvent(roomId, slip.getId(), undefined, { reason: "a slip" });
await until(phone, [RoomEvent.Redaction], () => slip.isRedacted());
assert.deepEqual(slip.getContent(), {});
assert.equal(slip.getRedactionEvent().content.reason, "a slip");
chapter("a redaction empties the message that is shown");

await phone.leave(roomId);
await until(phone, [RoomEvent.MyMembership], () => paged.getMyMembership() === "leave");
await until(alice, [RoomMemberEvent.Membership], () => hers.getMember(bob.getUserId()).membership === "leave");
chapter("leaving is seen by both");

await phone.logout(true);
await assert.rejects(phone.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
chapter("logging out ends the session");

alice.stopClient();
process.exit();

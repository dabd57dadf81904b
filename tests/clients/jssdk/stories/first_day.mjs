// The first day of an app: rooms and their names, local echoes, scrolling back.

import assert from "node:assert/strict";
import { EventType, RoomEvent } from "matrix-js-sdk";
import { bodies, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  chapter("two users register and sync");

  const { room_id: roomId } = await alice.createRoom({ preset: "trusted_private_chat", is_direct: true, invite: [bob.getUserId()] });
  const invited = await until(bob, () => bob.getRoom(roomId));
  assert.equal(invited.getMyMembership(), "invite");
  assert.equal(invited.getDMInviter(), alice.getUserId());
  assert.equal(invited.name, "Alice");
  chapter("an invite to a direct chat is named after who invites");

  await bob.joinRoom(roomId);
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "join");
  await until(alice, () => alice.getRoom(roomId)?.getMember(bob.getUserId())?.membership === "join");
  const [hers, his] = [alice.getRoom(roomId), bob.getRoom(roomId)];
  await until(alice, () => hers.name === "Bob");
  await until(bob, () => his.name === "Alice");
  assert.equal(hers.getJoinedMemberCount(), 2);
  assert.equal(his.getJoinedMemberCount(), 2);
  chapter("each sees the room under the name of the other");

  const echoes = [];
  hers.on(RoomEvent.LocalEchoUpdated, (event) => echoes.push(event.status));
  const { event_id: first } = await alice.sendTextMessage(roomId, "drop 1");
  await until(alice, () => hers.findEventById(first)?.status === null);
  assert.equal(echoes.at(-1), null); // after "sent" or, if /sync is faster than the answer, at once
  assert.deepEqual(bodies(hers), ["drop 1"]);
  chapter("a local echo becomes the event, and is shown once");

  await until(bob, () => his.findEventById(first));
  assert.equal(his.findEventById(first).sender.name, "Alice");
  await alice.setDisplayName("Alice in Rain");
  await until(bob, () => his.getMember(alice.getUserId()).name === "Alice in Rain");
  await until(bob, () => his.name === "Alice in Rain");
  const { event_id: second } = await alice.sendTextMessage(roomId, "drop 2");
  await until(bob, () => his.findEventById(second));
  assert.equal(his.findEventById(first).sender.name, "Alice");
  assert.equal(his.findEventById(second).sender.name, "Alice in Rain");
  chapter("a new display name renames the sender from then on, and the room");

  for (let i = 3; i <= 30; i++) await alice.sendTextMessage(roomId, `drop ${i}`);
  await until(bob, () => bodies(his).includes("drop 30"));
  const phone = await another(bob, { initialSyncLimit: 5 });
  const paged = phone.getRoom(roomId);
  assert.deepEqual(bodies(paged), ["drop 26", "drop 27", "drop 28", "drop 29", "drop 30"]);
  while (paged.getLiveTimeline().getPaginationToken("b")) await phone.scrollback(paged, 10);
  assert.deepEqual(bodies(paged), Array.from({ length: 30 }, (_, i) => `drop ${i + 1}`));
  assert.equal(paged.getLiveTimeline().getEvents()[0].getType(), EventType.RoomCreate);
  chapter("scrolling back reaches the creation of the room, without gaps or doubles");

  const slip = paged.getLiveTimeline().getEvents().at(-1);
  await alice.redactEvent(roomId, slip.getId(), undefined, { reason: "a slip" });
  await until(phone, () => slip.isRedacted());
  assert.deepEqual(slip.getContent(), {});
  assert.equal(slip.getRedactionEvent().content.reason, "a slip");
  chapter("a redaction empties the message that is shown");

  await phone.leave(roomId);
  await until(phone, () => paged.getMyMembership() === "leave");
  await until(alice, () => hers.getMember(bob.getUserId()).membership === "leave");
  chapter("leaving is seen by both");

  await phone.logout(true);
  await assert.rejects(phone.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
  chapter("logging out ends the session");
}

// Keeping order in a room: who may do what, taking away, reporting.

import assert from "node:assert/strict";
import { meet, sends, until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob, carol] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Carol")]);
  const roomId = await meet([alice, bob, carol], { preset: "public_chat", room_version: "12" });
  const room = (client) => client.getRoom(roomId);
  const level = (client, of) => room(client).getMember(of.getUserId()).powerLevel;

  await assert.rejects(bob.setRoomTopic(roomId, "wind"), { errcode: "M_FORBIDDEN" });
  assert.equal(room(bob).currentState.maySendStateEvent("m.room.topic", bob.getUserId()), false);
  await alice.setPowerLevel(roomId, bob.getUserId(), 50);
  for (const client of [alice, bob, carol]) await until(client, () => level(client, bob) === 50);
  assert.ok(level(bob, alice) > 100); // she made the room
  assert.equal(room(bob).currentState.maySendStateEvent("m.room.topic", bob.getUserId()), true);
  await bob.setRoomTopic(roomId, "wind", "<i>wind</i>");
  await bob.setRoomName(roomId, "Weather");
  await until(carol, () => room(carol).name === "Weather" && room(carol).currentState.getStateEvents("m.room.topic", "")?.getContent().topic === "wind");
  chapter("a moderator may change what the room is about");

  const [slip, seen] = await sends(carol, roomId, "buy umbrellas at example.org", bob, alice);
  await assert.rejects(carol.redactEvent(roomId, room(carol).currentState.getStateEvents("m.room.topic", "").getId()), { errcode: "M_FORBIDDEN" });
  await alice.reportEvent(roomId, seen.getId(), -100, "spam");
  await alice.reportRoom(roomId, "spam");
  await bob.redactEvent(roomId, slip.getId(), undefined, { reason: "spam" });
  await until(alice, () => seen.isRedacted());
  assert.equal(seen.getRedactionEvent().sender, bob.getUserId());
  chapter("and takes away what does not belong there");

  await assert.rejects(bob.kick(roomId, alice.getUserId()), { errcode: "M_FORBIDDEN" });
  await bob.ban(roomId, carol.getUserId(), "spam");
  await until(carol, () => room(carol).getMyMembership() === "ban");
  await assert.rejects(carol.joinRoom(roomId), { errcode: "M_FORBIDDEN" });
  assert.equal(room(carol).getMember(carol.getUserId()).events.member.getContent().reason, "spam");
  await bob.unban(roomId, carol.getUserId());
  await until(alice, () => room(alice).getMember(carol.getUserId()).membership === "leave");
  await carol.joinRoom(roomId);
  await until(carol, () => room(carol).getMyMembership() === "join");
  await sends(carol, roomId, "sorry", alice, bob);
  chapter("and who does not");
}

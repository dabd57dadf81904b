// Leaving, looking back, coming back, forgetting.

import assert from "node:assert/strict";
import { bodies, meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob], { preset: "public_chat" });
  await sends(alice, roomId, "before", bob);
  await bob.leave(roomId);
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "leave");
  for (let i = 1; i <= 30; i++) await alice.sendTextMessage(roomId, `meanwhile ${i}`);

  const phone = await another(bob);
  assert.equal(phone.getRoom(roomId), null);
  const left = (await phone.syncLeftRooms()).find((room) => room.roomId === roomId);
  assert.equal(left.getMyMembership(), "leave");
  while (left.getLiveTimeline().getPaginationToken("b")) await phone.scrollback(left, 4);
  assert.deepEqual(bodies(left), ["before"]);
  chapter("who has left a room can look back to when they left");

  await bob.joinRoom(roomId);
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "join");
  await sends(alice, roomId, "after", bob);
  const seen = [];
  for (let timeline = bob.getRoom(roomId).getLiveTimeline(); timeline; timeline = timeline.getNeighbouringTimeline("b")) {
    while (timeline.getPaginationToken("b")) await bob.paginateEventTimeline(timeline, { backwards: true, limit: 8 });
    seen.unshift(...timeline.getEvents());
  }
  const texts = seen.filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
  assert.deepEqual(texts, ["before", ...Array.from({ length: 30 }, (_, i) => `meanwhile ${i + 1}`), "after"]);
  assert.equal(new Set(seen.map((event) => event.getId())).size, seen.length);
  chapter("who comes back reads what was said meanwhile, without gaps or doubles");

  await bob.leave(roomId);
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "leave");
  await bob.forget(roomId);
  assert.equal(bob.getRoom(roomId), null);
  const tablet = await another(bob);
  assert.deepEqual(await tablet.syncLeftRooms(), []);
  await assert.rejects(tablet.http.authedRequest("GET", `/rooms/${encodeURIComponent(roomId)}/messages`, { dir: "b" }), { errcode: "M_FORBIDDEN" });
  chapter("a room is forgotten");

  await alice.invite(roomId, bob.getUserId());
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "invite");
  chapter("until one is invited again");
}

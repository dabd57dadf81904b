// How rooms and people are found: the directory, addresses, the people one may know.

import assert from "node:assert/strict";
import { meet, soon, until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alicia Umbrella"), arrive("Bob")]);
  const publish = async (name, topic) => (await alice.createRoom({ name, topic, preset: "public_chat", visibility: "public" })).room_id;
  const drizzle = await publish("Directory of drizzle", "light");
  const downpour = await publish("Directory of downpours", "heavy");
  const hidden = (await alice.createRoom({ name: "Directory of secrets", preset: "public_chat" })).room_id;

  const search = async (term, options = {}) => (await bob.publicRooms({ filter: { generic_search_term: term }, ...options })).chunk;
  assert.deepEqual((await search("directory of")).map((room) => room.room_id).sort(), [drizzle, downpour].sort());
  const [found] = await search("DRIZZLE");
  assert.deepEqual({ ...found, join_rule: undefined, room_type: undefined }, {
    room_id: drizzle,
    name: "Directory of drizzle",
    topic: "light",
    num_joined_members: 1,
    world_readable: false,
    guest_can_join: false,
    join_rule: undefined,
    room_type: undefined,
  });
  const first = await bob.publicRooms({ filter: { generic_search_term: "directory of" }, limit: 1 });
  const second = await bob.publicRooms({ filter: { generic_search_term: "directory of" }, limit: 1, since: first.next_batch });
  assert.deepEqual([...first.chunk, ...second.chunk].map((room) => room.room_id).sort(), [drizzle, downpour].sort());
  assert.ok((await bob.publicRooms({ limit: 100 })).chunk.some((room) => room.room_id === downpour));
  chapter("published rooms are found by what they are about, page by page");

  await alice.setRoomDirectoryVisibility(hidden, "public");
  assert.equal((await bob.getRoomDirectoryVisibility(hidden)).visibility, "public");
  assert.equal((await search("secrets")).length, 1);
  await alice.setRoomDirectoryVisibility(hidden, "private");
  assert.equal((await search("secrets")).length, 0);
  chapter("a room is published, and no longer");

  const [name, other] = ["#drizzle-directory:localhost", "#light-directory:localhost"];
  await alice.createAlias(name, drizzle);
  await alice.createAlias(other, drizzle);
  await assert.rejects(alice.createAlias(name, downpour), { httpStatus: 409 });
  assert.deepEqual(await bob.getRoomIdForAlias(name), { room_id: drizzle, servers: ["localhost"] });
  assert.deepEqual((await alice.getLocalAliases(drizzle)).aliases.sort(), [name, other]);
  await alice.sendStateEvent(drizzle, "m.room.canonical_alias", { alias: name, alt_aliases: [other] });
  const room = await bob.joinRoom(name);
  assert.equal(room.roomId, drizzle);
  await until(bob, () => bob.getRoom(drizzle)?.getCanonicalAlias() === name);
  assert.deepEqual(bob.getRoom(drizzle).getAltAliases(), [other]);
  await soon(() => search("drizzle"), ([room]) => room.canonical_alias === name);
  await alice.deleteAlias(other);
  await assert.rejects(bob.getRoomIdForAlias(other), { errcode: "M_NOT_FOUND" });
  chapter("an address leads into the room");

  const people = async (client, term) => (await client.searchUserDirectory({ term, limit: 10 })).results.map((user) => user.user_id);
  const dave = await arrive("Davina Puddle");
  assert.deepEqual(await people(dave, "davina puddle"), []);
  await meet([dave, bob]);
  assert.deepEqual(await people(bob, "puddle"), [dave.getUserId()]);
  assert.deepEqual(await people(bob, "umbrella"), [alice.getUserId()]);
  assert.deepEqual(await people(dave, "umbrella"), [alice.getUserId()]); // she is in a public room
  assert.deepEqual(await people(alice, "puddle"), []);
  chapter("people are found by those who share a room with them, or a public one");
}

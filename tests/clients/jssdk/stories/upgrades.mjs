// A room gets a new version: it is closed, and another goes on where it was.

import assert from "node:assert/strict";
import { meet, sends, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const old = await meet([alice, bob], { preset: "public_chat", name: "Old rain", topic: "dry wit", room_version: "11", room_alias_name: "old-rain" });
  await sends(alice, old, "it is getting late", bob);
  const { default: newest, available } = (await alice.getCapabilities())["m.room_versions"];
  assert.equal(available[newest], "stable");
  assert.equal(alice.getRoom(old).getVersion(), "11");
  assert.equal((await alice.getRoom(old).getRecommendedVersion()).needsUpgrade, false);

  await assert.rejects(bob.upgradeRoom(old, newest), { errcode: "M_FORBIDDEN" });
  const { replacement_room: successor } = await alice.upgradeRoom(old, newest);
  const tombstone = await until(bob, () => bob.getRoom(old).currentState.getStateEvents("m.room.tombstone", ""));
  assert.equal(tombstone.getContent().replacement_room, successor);
  await assert.rejects(bob.sendTextMessage(old, "is anybody here?"), { errcode: "M_FORBIDDEN" });
  chapter("a tombstone points to the room that goes on");

  await bob.joinRoom(successor, { viaServers: ["localhost"] });
  const room = await until(bob, () => bob.getRoom(successor)?.getMyMembership() === "join" && bob.getRoom(successor));
  await until(bob, () => room.name === "Old rain");
  assert.equal(room.getVersion(), newest);
  assert.equal(room.currentState.getStateEvents("m.room.topic", "").getContent().topic, "dry wit");
  assert.equal(room.findPredecessor().roomId, old);
  assert.deepEqual(bob.getRoomUpgradeHistory(successor, true).map(({ roomId }) => roomId), [old, successor]);
  assert.deepEqual(bob.getRoomUpgradeHistory(old, true).map(({ roomId }) => roomId), [old, successor]);
  assert.deepEqual(bob.getVisibleRooms().map(({ roomId }) => roomId), [successor]);
  chapter("the app shows one room with a history");

  assert.equal((await bob.getRoomIdForAlias("#old-rain:localhost")).room_id, successor);
  await until(bob, () => room.getCanonicalAlias() === "#old-rain:localhost");
  await sends(bob, successor, "here we are", alice);
  chapter("its address has moved along");

  const phone = await another(bob);
  assert.deepEqual(phone.getRoomUpgradeHistory(successor, true).map(({ roomId }) => roomId), [old, successor]);
  await phone.leaveRoomChain(successor);
  for (const id of [old, successor]) await until(bob, () => bob.getRoom(id).getMyMembership() === "leave");
  chapter("who leaves it leaves all of it");
}

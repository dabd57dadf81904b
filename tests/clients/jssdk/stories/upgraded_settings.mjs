// What a user has set for a room goes along when the room goes on in another version.
// https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-16

import { meet, until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const old = await meet([alice, bob], { preset: "public_chat", room_version: "11" });
  await bob.setRoomTag(old, "m.favourite", { order: 0.5 });
  await bob.setRoomMutePushRule("global", old, true);
  await bob.setAccountData("m.direct", { [alice.getUserId()]: [old] });

  const { replacement_room: successor } = await alice.upgradeRoom(old, "12");
  await bob.joinRoom(successor);
  await until(bob, () => bob.getRoom(successor)?.getMyMembership() === "join");
  await until(bob, () => bob.getRoom(successor).tags["m.favourite"]?.order === 0.5);
  await until(bob, () => bob.getRoomPushRule("global", successor)?.enabled);
  await until(bob, () => bob.getAccountData("m.direct").getContent()[alice.getUserId()].includes(successor));
  chapter("tags, direct chats and push rules move along");
}

// Who may not come in knocks.

import assert from "node:assert/strict";
import { until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob, carol] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Carol")]);
  const { room_id: roomId } = await alice.createRoom({
    name: "Shelter",
    preset: "private_chat",
    initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
  });
  const membership = (client, of) => client.getRoom(roomId)?.getMember(of.getUserId())?.membership;
  await assert.rejects(bob.joinRoom(roomId), { errcode: "M_FORBIDDEN" });

  await bob.knockRoom(roomId, { reason: "it is wet out here", viaServers: ["localhost"] });
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "knock" && bob.getRoom(roomId).name === "Shelter");
  await until(alice, () => membership(alice, bob) === "knock");
  assert.equal(alice.getRoom(roomId).getMember(bob.getUserId()).events.member.getContent().reason, "it is wet out here");
  chapter("those inside hear who knocks and why");

  await alice.invite(roomId, bob.getUserId());
  await until(bob, () => bob.getRoom(roomId)?.getMyMembership() === "invite");
  await bob.joinRoom(roomId);
  await until(alice, () => membership(alice, bob) === "join");
  chapter("and let them in");

  await carol.knockRoom(roomId);
  await until(alice, () => membership(alice, carol) === "knock");
  await alice.kick(roomId, carol.getUserId(), "full");
  await until(carol, () => carol.getRoom(roomId)?.getMyMembership() === "leave");
  await assert.rejects(carol.joinRoom(roomId), { errcode: "M_FORBIDDEN" });
  chapter("or not");

  await carol.knockRoom(roomId);
  await until(alice, () => membership(alice, carol) === "knock");
  await until(carol, () => carol.getRoom(roomId)?.getMyMembership() === "knock");
  await carol.leave(roomId);
  await until(alice, () => membership(alice, carol) === "leave");
  chapter("or they give up");
}

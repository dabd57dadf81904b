// Who is there.

import assert from "node:assert/strict";
import { meet, until } from "../app.mjs";

export default async function ({ arrive, another, chapter }) {
  const [alice, bob, stranger] = await Promise.all([arrive("Alice"), arrive("Bob"), arrive("Stranger")]);
  await meet([alice, bob]);
  const presence = (of) => bob.getUser(of.getUserId())?.presence;

  await until(bob, () => presence(alice) === "online");
  chapter("who syncs is online");

  await alice.setSyncPresence("unavailable"); // or the next /sync would say online
  await alice.setPresence({ presence: "unavailable", status_msg: "waiting for the rain to end" });
  await until(bob, () => presence(alice) === "unavailable");
  assert.equal(bob.getUser(alice.getUserId()).presenceStatusMsg, "waiting for the rain to end");
  const asked = await bob.getPresence(alice.getUserId());
  assert.equal(asked.presence, "unavailable");
  assert.equal(asked.status_msg, "waiting for the rain to end");
  chapter("a status is seen by those in the same room");

  const phone = await another(bob);
  assert.equal(phone.getUser(alice.getUserId())?.presence, "unavailable");
  chapter("also by a device that comes later");

  await assert.rejects(stranger.getPresence(alice.getUserId()), { errcode: "M_FORBIDDEN" });
  assert.ok(!stranger.getUser(alice.getUserId()));
  chapter("and not by strangers");
}

// Sessions that are renewed, handed on and given up.

import assert from "node:assert/strict";
import { createClient } from "matrix-js-sdk";
import { meet, open, password, sends, sync, until } from "../app.mjs";

export default async function ({ arrive, chapter }) {
  const [alice, bob] = await Promise.all([arrive("Alice"), arrive("Bob")]);
  const roomId = await meet([alice, bob]);
  const user = alice.getUserId();
  const anonymous = createClient({ baseUrl: alice.baseUrl });
  const words = { type: "m.login.password", identifier: { type: "m.id.user", user }, password };

  assert.ok((await anonymous.loginFlows()).flows.some(({ type }) => type === "m.login.password"));
  assert.equal(await anonymous.isUsernameAvailable("nobody-yet"), true);
  await assert.rejects(anonymous.isUsernameAvailable(alice.getUserIdLocalpart()).then((free) => assert.ok(free)));
  chapter("a client finds out how to log in");

  const session = await anonymous.loginRequest({ ...words, refresh_token: true });
  const next = await anonymous.refreshToken(session.refresh_token);
  const phone = await sync(open({ ...session, access_token: next.access_token }));
  const [event] = await sends(bob, roomId, "still there?", phone);
  assert.equal(event.getContent().body, "still there?");
  await assert.rejects(anonymous.refreshToken(session.refresh_token), { errcode: "M_UNKNOWN_TOKEN" });
  phone.stopClient();
  chapter("a session is renewed");

  const { flows } = await anonymous.loginFlows();
  if (flows.some(({ get_login_token: get }) => get)) {
    const asked = await alice.requestLoginToken().catch((err) => {
      assert.equal(err.httpStatus, 401);
      return alice.requestLoginToken({ ...words, session: err.data.session });
    });
    const handed = await anonymous.loginRequest({ type: "m.login.token", token: asked.login_token });
    assert.equal(handed.user_id, user);
    await assert.rejects(anonymous.loginRequest({ type: "m.login.token", token: asked.login_token }), { errcode: "M_FORBIDDEN" });
    chapter("a new device is let in by one that is in, once");
  }

  await alice.deactivateAccount(undefined, true).then(
    () => assert.fail("the server did not ask for the password"),
    (err) => alice.deactivateAccount({ ...words, session: err.data.session }, true),
  );
  await until(bob, () => bob.getRoom(roomId).getMember(user).membership === "leave");
  await assert.rejects(alice.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
  await assert.rejects(anonymous.loginRequest(words), { errcode: "M_USER_DEACTIVATED" });
  chapter("an account is given up, and leaves its rooms");
}

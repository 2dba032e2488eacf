// oidc-provider (certified, MIT) as a hospital might run one: two clients, users by name, groups among their claims.
// Arguments: port, the redirect URI, the URI after a log-out. Anybody logs in under any name with any password.
import { Provider } from "oidc-provider";

const [port, back, after] = process.argv.slice(2);
const GROUPS = { ada: ["staff", "whyray-admins"], rae: ["radiologists"], guest: ["staff"], none: undefined };
const client = (id, more) => ({ client_id: id, redirect_uris: [back], post_logout_redirect_uris: [after], grant_types: ["authorization_code"], ...more });

const provider = new Provider(`http://localhost:${port}`, {
  clients: [
    client("whyray", { client_secret: "a-secret-of-the-tests-0123456789" }),
    client("whyray-public", { token_endpoint_auth_method: "none" }),
  ],
  pkce: { required: () => true },
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  cookies: { keys: ["of the tests"] },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: GROUPS[id] }),
  }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));

// Who may come in: accounts and API tokens. They are made on the command line.

import { age, chip, h, panel, table } from "./dom.js";

export const accounts = {
  title: "Accounts",
  paths: () => ["accounts", "tokens"],
  body: ([people, tokens]) => [
    h("p", { class: "quiet" }, "Made and removed by ", h("code", {}, "whyray account"), ". Of passwords and tokens, hashes alone are kept."),
    panel(table("Accounts", ["Name", "Role", "Made", "By", "Password of", "Last log-in"], people.map((account) => [
      account.name, account.role, age(account.created_at), account.created_by, age(account.password_at), account.last_login_at ? age(account.last_login_at) : "never",
    ]), { empty: "No account. `whyray account add NAME --role operator` makes one." })),
    panel(table("API tokens", ["Name", "Id", "Scopes", "State", "Made", "By", "Good until", "Last used"], tokens.map((token) => [
      token.name, h("code", {}, token.id), token.scopes.join(", "), token.in_force ? chip("alive", "in force") : chip("stopped", token.revoked_at ? "revoked" : "over"),
      age(token.created_at), token.created_by, new Date(token.expires_at).toLocaleDateString(), token.last_used_at ? new Date(token.last_used_at).toLocaleDateString() : "–",
    ]), { empty: "No token. `whyray account token add NAME --scope read` makes one." })),
  ],
};

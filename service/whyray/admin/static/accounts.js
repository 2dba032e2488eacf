// Who may come in: accounts and API tokens. They are made on the command line.

import { age, chip, h, panel, table } from "./dom.js";

export const accounts = {
  title: "Accounts",
  paths: () => ["accounts", "tokens"],
  body: ([people, tokens]) => [
    h("p", { class: "quiet" }, "Made and removed by ", h("code", {}, "whyray account"), ". Of passwords and tokens, hashes alone are kept."),
    panel(table("Accounts", ["Name", "Role", "Made", "By", "Password of", "Last log-in"], people.map((each) => [
      each.name, each.role, age(each.created_at), each.created_by, age(each.password_at), each.last_login_at ? age(each.last_login_at) : "never",
    ]), { empty: "No account. `whyray account add NAME --role operator` makes one." })),
    panel(table("API tokens", ["Name", "Id", "Scopes", "State", "Made", "By", "Good until"], tokens.map((each) => [
      each.name, h("code", {}, each.id), each.scopes.join(", "), each.in_force ? chip("alive", "in force") : chip("stopped", each.revoked_at ? "revoked" : "over"),
      age(each.created_at), each.created_by, new Date(each.expires_at).toLocaleDateString(),
    ]), { empty: "No token. `whyray account token add NAME --scope read` makes one." })),
  ],
};

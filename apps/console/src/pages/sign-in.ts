/** `/sign-in`, and what somebody sees who is not permitted. */
import { html } from "../html.ts"
import type { Page } from "./layout.ts"

export const signInPage = (to: string, problem: string | null, name = ""): Page => ({
  title: "Sign in",
  body: html`<form class="sign-in" method="post" action="/sign-in">
<h1>Sign in</h1>
${problem !== null && html`<p class="problem" role="alert">${problem}</p>`}
<input type="hidden" name="to" value="${to}">
<label>Name <input name="name" value="${name}" autocomplete="username" autocapitalize="none" spellcheck="false" required maxlength="64"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required maxlength="1024"></label>
<button type="submit">Sign in</button>
</form>`,
})

export const problemPage = (title: string, text: string): Page => ({
  title,
  body: html`<h1>${title}</h1><p>${text}</p>`,
})

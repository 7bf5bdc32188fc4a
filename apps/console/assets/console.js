// Keeps a page live: fetches it again while it is visible, and changes only what has changed, so that focus, selection and the place
// in the page stay. Without this script everything can be read and done all the same.

const every = Number(document.body.dataset.live ?? 0)
const status = document.getElementById("live")
const LONGEST_PAUSE_MS = 30_000
const ANSWER_WITHIN_MS = 10_000
let failures = 0
/** When the page was last up to date. */
let since
let timer
let asking

// On a narrow screen, the current page's link may be out of sight.
document.querySelector("#states [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" })

if (every > 0) {
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : refresh()))
  window.addEventListener("pagehide", stop)
  window.addEventListener("pageshow", (event) => event.persisted && refresh())
  window.addEventListener("online", refresh)
  say(`Live · ${clock()}`)
  schedule(every)
}

function schedule(ms) {
  clearTimeout(timer)
  if (!document.hidden) timer = setTimeout(refresh, ms)
}

function stop() {
  clearTimeout(timer)
  asking?.abort()
}

async function refresh() {
  clearTimeout(timer)
  asking?.abort()
  const own = new AbortController()
  asking = own
  try {
    const signal = AbortSignal.any([own.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)])
    const answer = await fetch(location.href, {
      signal,
      redirect: "manual",
      headers: { accept: "text/html" },
    })
    // Signed out: the page itself leads to where one signs in.
    if (answer.type === "opaqueredirect" || answer.status === 401) return location.reload()
    if (!answer.ok) throw new Error(String(answer.status))
    const page = new DOMParser().parseFromString(await answer.text(), "text/html")
    if (own.signal.aborted) return
    for (const selector of ["#states", "#main"])
      change(document.querySelector(selector), page.querySelector(selector))
    document.title = page.title
    failures = 0
    say(`Live · ${clock()}`)
  } catch {
    if (own.signal.aborted) return
    failures++
    say(`No answer since ${since}. Trying again…`)
  }
  // The server may have new figures sooner, or need time.
  schedule(Math.min(every * 2 ** failures, Math.max(LONGEST_PAUSE_MS, every)))
}

function say(text) {
  if (failures === 0) since = clock()
  document.body.classList.toggle("stale", failures > 0)
  // Told to screen readers only when it is news, not with every second.
  status.setAttribute("aria-live", failures > 0 ? "polite" : "off")
  status.textContent = text
}

function clock() {
  return new Date().toLocaleTimeString()
}

/** Makes `old` like `fresh`. Elements with a key, and others of the same kind and place, stay the same elements. */
function change(old, fresh) {
  if (!old || !fresh || old.isEqualNode(fresh)) return
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name)
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  const keyed = new Map()
  for (const child of old.children) if (child.dataset?.key) keyed.set(child.dataset.key, child)
  let at = old.firstChild
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.dataset?.key
    let match = key ? keyed.get(key) : undefined
    if (!key && at && at.nodeType === wanted.nodeType && at.nodeName === wanted.nodeName && !at.dataset?.key)
      match = at
    if (!match) {
      old.insertBefore(document.importNode(wanted, true), at)
      continue
    }
    // Where there is `moveBefore`, an element keeps its focus when it moves.
    if (match !== at) (old.moveBefore ?? old.insertBefore).call(old, match, at)
    else at = at.nextSibling
    if (match.nodeType !== Node.ELEMENT_NODE) {
      if (match.nodeValue !== wanted.nodeValue) match.nodeValue = wanted.nodeValue
      // What somebody is typing stays.
    } else if (!["INPUT", "SELECT", "TEXTAREA"].includes(match.nodeName)) change(match, wanted)
  }
  while (at) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}

#!/usr/bin/env node
import { enter, PROCESSES } from "../../entry.mjs"

await enter(PROCESSES.console)

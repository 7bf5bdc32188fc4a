#!/usr/bin/env node
import { enterCommandLine } from "../../entry.mjs"

await enterCommandLine()

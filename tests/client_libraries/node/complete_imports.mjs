// AppAuth's modules import each other without ".js", which bundlers and tsx add. `node --import` this does it too.
import { register } from 'node:module'

const hooks = `
export async function resolve(specifier, context, next) {
  const isIncomplete = specifier.startsWith('.') && context.parentURL?.includes('/@openid/appauth/')
  return next(isIncomplete && !specifier.endsWith('.js') ? specifier + '.js' : specifier, context)
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)

-- The transactions of RedisStore on its keys; each call is one of `commands`, and atomic.
--
-- KEYS[1] begins all keys and is their hash tag; ARGV[1] is the command, ARGV[2] its arguments.
--
-- An entry is a member of the sorted set `entries`: user, scope, action, origin, added_at,
-- expires_at and reason, with a NUL after each but the last.  The first four with their NULs are its
-- key.  Sets that are searched by how their members begin have the score 0.  Times are passed on
-- and compared, but never turned into text here: Lua would round them.

local base = KEYS[1]
local ENTRIES, EXPIRING = base .. ':entries', base .. ':expiring'
local ALIASES, ALIASES_OF = base .. ':aliases', base .. ':aliases-of'
local ORPHANS, MOVES = base .. ':orphans', base .. ':moves'
local INTENT_NAMES, RECORD_NAMES = base .. ':intent-names', base .. ':record-names'
local SETTLED, SEQUENCE = base .. ':settled', base .. ':sequence'
local SETTINGS, CHANGES = base .. ':settings', base .. ':changes'
local OPERATIONS = {'block', 'unblock'}
local call = redis.call
local now

local function of(number, what)
  return base .. ':' .. number .. ':' .. what
end

local function beginning(set, start)
  return call('ZRANGEBYLEX', set, '[' .. start, '(' .. start .. '\255')
end

local function check_lease(given)
  if given.token and call('GET', of(given.number, 'lease')) ~= given.token then
    error('LEASELOST ' .. given.number .. ' now')
  end
end

-- ------------------------------------------------------------------ entries and aliases

local function entries_of(user)
  return beginning(ENTRIES, user .. '\0')
end

local function fields(entry)
  return string.match(entry, '^(%Z*%z%Z*%z%Z*%z%Z*%z)(%Z*)%z(%Z*)%z(.*)$')
end

local function user_of(entry)
  return string.match(entry, '^%Z*')
end

local function action_of(entry)
  return string.match(entry, '^%Z*%z%Z*%z(%Z*)')
end

local function is_alive(entry)
  local _, _, expires = fields(entry)
  return expires == '' or tonumber(expires) > now
end

local function put(key, added, expires, reason)
  call('ZADD', ENTRIES, 0, key .. added .. '\0' .. expires .. '\0' .. reason)
  if expires ~= '' then
    call('ZADD', EXPIRING, expires, key)
  end
end

local function drop(entry)
  call('ZREM', ENTRIES, entry)
  call('ZREM', EXPIRING, (fields(entry)))
end

local function aliases_of(user)
  local found = {}
  for _, name in ipairs(beginning(ALIASES_OF, user .. '\0')) do
    found[#found + 1] = string.sub(name, #user + 2)
  end
  return found
end

local function unlearn(id)
  local user = call('HGET', ALIASES, id)
  if user then
    call('HDEL', ALIASES, id)
    call('ZREM', ALIASES_OF, user .. '\0' .. id)
    call('ZREM', ORPHANS, id)
  end
  return user
end

local function learn(id, user)
  unlearn(id)
  call('HSET', ALIASES, id, user)
  call('ZADD', ALIASES_OF, 0, user .. '\0' .. id)
  if #entries_of(user) == 0 then
    call('ZADD', ORPHANS, now, id)
  end
end

-- Returns *keys*, what they are aliases of, and all aliases of those.
local function related(keys)
  local found, is_found = {}, {}
  local function reach(key)
    if key and not is_found[key] then
      is_found[key] = true
      found[#found + 1] = key
    end
  end
  for _, key in ipairs(keys) do
    reach(key)
  end
  local index = 1
  while index <= #found do
    reach(call('HGET', ALIASES, found[index]))
    for _, id in ipairs(aliases_of(found[index])) do
      reach(id)
    end
    index = index + 1
  end
  return found
end

-- Calls *visit* with the number and the person of each name in *set* that begins with *key*.
local function each_named(set, key, visit)
  for _, name in ipairs(beginning(set, key .. '\0')) do
    visit(string.match(name, '^%Z*%z(%Z*)%z(.*)$'))
  end
end

-- Marks the records of those whom changed entries of *users* concern.
local function mark(users)
  if #users == 0 or call('EXISTS', RECORD_NAMES) == 0 then
    return
  end
  local change = call('INCR', SEQUENCE)
  for _, key in ipairs(related(users)) do
    each_named(RECORD_NAMES, key, function(number, person)
      call('ZADD', of(number, 'recheck'), change, person)
    end)
  end
end

local function delete(keys)
  local count, users, is_known = 0, {}, {}
  for _, key in ipairs(keys) do
    local user = user_of(key)
    for _, entry in ipairs(beginning(ENTRIES, key)) do
      drop(entry)
      count = count + 1
      if not is_known[user] then
        is_known[user] = true
        users[#users + 1] = user
      end
    end
  end
  for _, user in ipairs(users) do
    if #entries_of(user) == 0 then
      for _, id in ipairs(aliases_of(user)) do
        call('ZADD', ORPHANS, now, id)
      end
    end
  end
  mark(users)
  return count
end

-- ------------------------------------------------------------------ intents and records

local function index_intent(command, number, row)
  local function note(set, score, member)
    if command == 'ZADD' then
      call('ZADD', set, score, member)
    else
      call('ZREM', set, member)
    end
  end
  local person, operation = row.person, row.operation
  if row.state == 0 then
    note(SETTLED, row.settled_at, number .. '\0' .. person)
  else
    note(of(number, 'open:' .. operation), row.made_at, person)
    if row.rank == 0 then
      note(of(number, 'room'), 0, person)
    end
  end
  if row.state == 1 then
    local place = string.format('%016d', row.place)
    note(of(number, 'due:' .. row.rank .. ':' .. operation), row.due_at, place .. '\0' .. person)
  elseif row.state == 2 then
    note(of(number, 'taken'), 0, person)
  end
  note(INTENT_NAMES, 0, person .. '\0' .. number .. '\0' .. person)
  note(INTENT_NAMES, 0, row.entry .. '\0' .. number .. '\0' .. person)
end

local function forget_intent(number, person)
  local raw = call('HGET', of(number, 'intents'), person)
  if raw then
    index_intent('ZREM', number, cjson.decode(raw))
    call('HDEL', of(number, 'intents'), person)
  end
end

local function name_record(command, number, person, entry)
  for _, key in ipairs({person, entry}) do
    local name = key .. '\0' .. number .. '\0' .. person
    if command == 'ZADD' then
      call('ZADD', RECORD_NAMES, 0, name)
    else
      call('ZREM', RECORD_NAMES, name)
    end
  end
end

local function forget_record(number, person)
  local entry = call('HGET', of(number, 'denied-by'), person)
  if entry then
    name_record('ZREM', number, person, entry)
    call('HDEL', of(number, 'denied-by'), person)
    call('HDEL', of(number, 'records'), person)
    call('ZREM', of(number, 'blocked'), person)
    call('ZREM', of(number, 'recheck'), person)
  end
end

local function is_still_denied(person, entry)
  for _, key in ipairs(related({entry, person})) do
    for _, each in ipairs(entries_of(key)) do
      if action_of(each) == 'allow' then
        return false
      end
    end
  end
  for _, each in ipairs(entries_of(entry)) do
    if action_of(each) == 'deny' and is_alive(each) then
      return true
    end
  end
  return false
end

-- What `commit` writes; each takes what Python gives behind its name.
local effects = {}

function effects.learn(id, user)
  learn(id, user)
end

function effects.save(number, person, raw)
  forget_intent(number, person)
  call('HSET', of(number, 'intents'), person, raw)
  index_intent('ZADD', number, cjson.decode(raw))
end

function effects.record(number, person, entry, at, raw)
  forget_record(number, person)
  call('HSET', of(number, 'records'), person, raw)
  call('HSET', of(number, 'denied-by'), person, entry)
  call('ZADD', of(number, 'blocked'), at, person)
  name_record('ZADD', number, person, entry)
  if not is_still_denied(person, entry) then  -- the list may have changed since it was decided
    call('ZADD', of(number, 'recheck'), call('INCR', SEQUENCE), person)
  end
end

function effects.unrecord(number, person)
  forget_record(number, person)
end

function effects.denied(number, person, entry)
  local before = call('HGET', of(number, 'denied-by'), person)
  if before then
    name_record('ZREM', number, person, before)
    name_record('ZADD', number, person, entry)
    call('HSET', of(number, 'denied-by'), person, entry)
  end
end

function effects.checked(number, person, change)
  local marked = call('ZSCORE', of(number, 'recheck'), person)
  if marked and tonumber(marked) <= change then
    call('ZREM', of(number, 'recheck'), person)
  end
end

-- ------------------------------------------------------------------ commands: the deny list

local commands = {}

function commands.find(given)
  local found = {}
  local function add(id, user)
    for _, entry in ipairs(entries_of(user)) do
      if is_alive(entry) then
        found[#found + 1] = {id, entry}
      end
    end
  end
  for _, id in ipairs(given.ids) do
    add(id, id)
  end
  for _, id in ipairs(given.ids) do
    local user = call('HGET', ALIASES, id)
    if user then
      add(id, user)
    end
  end
  return found
end

-- Returns the entries behind a key.
function commands.page(given)
  local start = given.after == '' and '-' or '(' .. given.after .. '\255'
  return call('ZRANGEBYLEX', ENTRIES, start, '+', 'LIMIT', 0, given.limit)
end

function commands.of_users(given)
  local found = {}
  for _, user in ipairs(given.users) do
    for _, entry in ipairs(entries_of(user)) do
      found[#found + 1] = entry
    end
  end
  return found
end

function commands.total()
  return call('ZCARD', ENTRIES)
end

function commands.add(given)
  local new, changed, users = 0, 0, {}
  local function concerns(key)
    local user = user_of(key)
    users[#users + 1] = user
    for _, spelling in ipairs(given.spellings[user] or {}) do
      users[#users + 1] = spelling
    end
  end
  for _, entry in ipairs(given.entries) do
    local key, added, expires, reason = unpack(entry)
    local old = beginning(ENTRIES, key)[1]
    if not old then
      put(key, added, expires, reason)
      new = new + 1
      concerns(key)
    else
      local _, first, ends, why = fields(old)
      if ends ~= expires or why ~= reason then
        drop(old)
        put(key, first, expires, reason)
        changed = changed + 1
        concerns(key)
      end
    end
  end
  mark(users)
  return {new, changed}
end

function commands.remove(given)
  return delete(given.keys)
end

function commands.expire(given)
  return delete(call('ZRANGEBYSCORE', EXPIRING, '-inf', now, 'LIMIT', 0, given.limit))
end

local function is_heeded(given, is_old)
  for _, move in ipairs(call('ZRANGE', MOVES, 0, -1)) do
    local message, target, at = string.match(move, '^(%Z*)%z(%Z*)%z(.*)$')
    if message ~= '' and message == given.message then
      return true
    end
    if is_old[target] and tonumber(at) > given.at then
      return true
    end
  end
  return false
end

local function longer(one, other)
  if one == '' or other == '' then
    return ''
  end
  return tonumber(one) >= tonumber(other) and one or other
end

-- Copies an entry to its new user; returns the old key.
local function copy(entry, old, new)
  local key, added, expires, reason = fields(entry)
  local target = new .. string.sub(key, #old + 1)
  local there = beginning(ENTRIES, target)[1]
  if there then
    local _, first, ends, why = fields(there)
    drop(there)
    put(target, first, longer(ends, expires), why)
  else
    put(target, added, expires, reason)
  end
  return key
end

local function move_entries(given)
  local keys = {}
  for _, old in ipairs(given.old) do
    local before = #keys
    for _, entry in ipairs(entries_of(old)) do
      local _, added = fields(entry)
      if tonumber(added) <= given.at then
        keys[#keys + 1] = copy(entry, old, given.new)
      end
    end
    if #keys > before then
      for _, id in ipairs(aliases_of(old)) do
        learn(id, given.new)
      end
    end
  end
  delete(keys)
  mark(#keys > 0 and {given.new} or {})
  return #keys > 0
end

local function move_aliases(given)
  local is_moved = false
  for _, old in ipairs(given.old) do
    local since = call('ZSCORE', ORPHANS, old)
    local user = unlearn(old)
    if user then
      is_moved = true
      learn(given.new, user)
      if since then
        call('ZADD', ORPHANS, since, given.new)
      end
    end
  end
  if call('HGET', ALIASES, given.new) == given.new then
    unlearn(given.new)
  end
  return is_moved
end

function commands.move(given)
  local is_old = {}
  for _, old in ipairs(given.old) do
    is_old[old] = true
  end
  if is_heeded(given, is_old) then
    return 0
  end
  local has_entries = move_entries(given)
  local has_aliases = move_aliases(given)
  if not has_entries and not has_aliases then
    return 0
  end
  call('ZADD', MOVES, now, given.message .. '\0' .. given.new .. '\0' .. given.at_text)
  return 1
end

function commands.erase(given)
  local users, keys, is_user = related(given.ids), {}, {}
  for _, list in ipairs({users, given.persons}) do
    for _, key in ipairs(list) do
      each_named(INTENT_NAMES, key, forget_intent)
      each_named(RECORD_NAMES, key, forget_record)
    end
  end
  for _, user in ipairs(users) do
    is_user[user] = true
    for _, entry in ipairs(entries_of(user)) do
      keys[#keys + 1] = (fields(entry))
    end
  end
  local count = delete(keys)
  for _, user in ipairs(users) do
    unlearn(user)
  end
  for _, move in ipairs(call('ZRANGE', MOVES, 0, -1)) do
    if is_user[string.match(move, '^%Z*%z(%Z*)')] then
      call('ZREM', MOVES, move)
    end
  end
  return count
end

function commands.setting(given)
  if given.value then
    call('HSETNX', SETTINGS, given.name, given.value)
  end
  return call('HGET', SETTINGS, given.name)
end

-- ------------------------------------------------------------------ commands: reading intents

function commands.rows(given)
  check_lease(given)
  local found = {}
  for _, each in ipairs(given.people) do
    local number, person = unpack(each)
    found[#found + 1] = call('HGET', of(number, 'intents'), person)
  end
  return {given.versions > 0 and call('INCRBY', SEQUENCE, given.versions) or 0, found}
end

function commands.counts(given)
  local oldest = {}
  for _, operation in ipairs(OPERATIONS) do
    local first = call('ZRANGE', of(given.number, 'open:' .. operation), 0, 0, 'WITHSCORES')
    oldest[#oldest + 1] = first[2]
  end
  return {
    call('ZCARD', of(given.number, 'open:block')),
    call('ZCARD', of(given.number, 'open:unblock')),
    call('HLEN', of(given.number, 'records')),
    oldest,
  }
end

local function rows_of(number, people)
  local found = {}
  for _, person in ipairs(people) do
    found[#found + 1] = call('HGET', of(number, 'intents'), person)
  end
  return found
end

-- Returns the intents that are due, of one operation and of the first rank.
function commands.due(given)
  check_lease(given)
  for rank = 0, 2 do
    local best, page
    for _, operation in ipairs(OPERATIONS) do
      local set = of(given.number, 'due:' .. rank .. ':' .. operation)
      local due = call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, given.limit)
      if #due > 0 then
        local first = {tonumber(call('ZSCORE', set, due[1])), due[1]}
        if not best or first[1] < best[1] or (first[1] == best[1] and first[2] < best[2]) then
          best, page = first, due
        end
      end
    end
    if page then
      local people = {}
      for _, member in ipairs(page) do
        people[#people + 1] = string.match(member, '^%Z*%z(.*)$')
      end
      return rows_of(given.number, people)
    end
  end
  return {}
end

function commands.due_at(given)
  check_lease(given)
  local found = {}
  for rank = 0, 2 do
    for _, operation in ipairs(OPERATIONS) do
      local set = of(given.number, 'due:' .. rank .. ':' .. operation)
      found[#found + 1] = call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
    end
  end
  return found
end

function commands.taken(given)
  check_lease(given)
  return rows_of(given.number, call('ZRANGE', of(given.number, 'taken'), 0, -1))
end

function commands.rechecks(given)
  check_lease(given)
  local found = {}
  local marked = call('ZRANGE', of(given.number, 'recheck'), 0, given.limit - 1, 'WITHSCORES')
  for index = 1, #marked, 2 do
    local person = marked[index]
    found[#found + 1] = {
      person,
      marked[index + 1],
      call('HGET', of(given.number, 'denied-by'), person),
      call('HGET', of(given.number, 'records'), person),
    }
  end
  return found
end

-- Returns how many make room already, and those blocked longest ago who have no open intent.
function commands.evictable(given)
  check_lease(given)
  local number, found, is_kept = given.number, {}, {}
  for _, person in ipairs(given.keep) do
    is_kept[person] = true
  end
  local already = call('ZCARD', of(number, 'room'))
  local start, page = 0, nil
  repeat
    page = call('ZRANGE', of(number, 'blocked'), start, start + 199)
    start = start + 200
    for _, person in ipairs(page) do
      local is_open = call('ZSCORE', of(number, 'open:block'), person)
        or call('ZSCORE', of(number, 'open:unblock'), person)
      if #found + already < given.count and not is_kept[person] and not is_open then
        found[#found + 1] = {
          person,
          call('HGET', of(number, 'denied-by'), person),
          call('HGET', of(number, 'records'), person),
        }
      end
    end
  until #page == 0 or #found + already >= given.count
  return {already, found}
end

-- ------------------------------------------------------------------ commands: writing intents

-- Writes *effects* if the rows are still as they were read; returns whether they were.
function commands.commit(given)
  check_lease(given)
  for _, each in ipairs(given.read) do
    local hash, number, person, digest = unpack(each)
    local raw = call('HGET', of(number, hash), person)
    if (raw and redis.sha1hex(raw) or '') ~= digest then
      return 0
    end
  end
  for _, each in ipairs(given.effects) do
    effects[each[1]](unpack(each, 2))
  end
  return 1
end

-- Deletes some of what is needed no more; returns whether there may be more.
function commands.forget(given)
  local before = '(' .. given.before
  local settled = call('ZRANGEBYSCORE', SETTLED, '-inf', before, 'LIMIT', 0, given.limit)
  for _, each in ipairs(settled) do
    forget_intent(string.match(each, '^(%Z*)%z(.*)$'))
  end
  local orphans = call('ZRANGEBYSCORE', ORPHANS, '-inf', before, 'LIMIT', 0, given.limit)
  for _, id in ipairs(orphans) do
    if #entries_of(call('HGET', ALIASES, id)) == 0 then
      unlearn(id)
    else
      call('ZREM', ORPHANS, id)
    end
  end
  call('ZREMRANGEBYSCORE', MOVES, '-inf', before)
  return #settled + #orphans
end

-- ------------------------------------------------------------------ commands: leases and opening

function commands.acquire(given)
  local lease = of(given.number, 'lease')
  return call('SET', lease, given.token, 'NX', 'PX', given.milliseconds) and 1 or 0
end

function commands.renew(given)
  check_lease(given)
  return call('PEXPIRE', of(given.number, 'lease'), given.milliseconds)
end

function commands.release(given)
  check_lease(given)
  return call('DEL', of(given.number, 'lease'))
end

-- Returns the time, and how often something has changed.
function commands.tick()
  local time = call('TIME')
  return {time[1], time[2], call('GET', CHANGES) or '0'}
end

local TYPES = {
  [ENTRIES] = 'zset', [EXPIRING] = 'zset', [ALIASES] = 'hash', [ALIASES_OF] = 'zset',
  [ORPHANS] = 'zset', [MOVES] = 'zset', [INTENT_NAMES] = 'zset', [RECORD_NAMES] = 'zset',
  [SETTLED] = 'zset', [SEQUENCE] = 'string', [SETTINGS] = 'hash', [CHANGES] = 'string',
}

-- Returns the format of what is stored, and what Redis tells of itself; nothing if it does not.
-- A key that holds something else is an error.
function commands.open(given)
  for key, expected in pairs(TYPES) do
    local type = call('TYPE', key).ok
    if type ~= 'none' and type ~= expected then
      error('WRONGTYPE ' .. key)
    end
  end
  local stored = call('GET', base .. ':format')
  if not stored then
    call('SET', base .. ':format', given.format)
  end
  local told = redis.pcall('INFO')
  return {stored or given.format, type(told) == 'string' and told or ''}
end

-- ------------------------------------------------------------------ what this call is

local given = cjson.decode(ARGV[2])
now = given.now
local result = commands[ARGV[1]](given)
if given.wakes and result ~= 0 then
  call('INCR', CHANGES)
  call('PUBLISH', CHANGES, given.wakes)
end
return result

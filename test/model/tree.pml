/*
 * The derivation tree of kernel/cap (tree.go, derive.go, revoke.go): threads derive,
 * copy, move, close and use capabilities, while others revoke them.
 *
 * What happens under the lock of the family is one step here. What does not (a lookup,
 * a pin, the call's own work, the parts of a revocation) is a step for each access.
 * How one capability is taken out of its table is in flight.pml.
 */

#ifndef NODES
#define NODES 4
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef REVOKERS
#define REVOKERS 2
#endif

#define BIT(i) (1 << (i))
#define ROOT NODES		/* the parent of a root */
#define OUT (NODES + 1)		/* the parent of what is in the tree no more */

/* Where a capability is. AWAY: in a message, or on the way out of the table for good. */
#define FREE 0
#define LIVE 1
#define AWAY 2
#define GONE 3			/* closed: a tombstone */
#define DEAD 4			/* revoked */

/* A right that the root has, and one that it has not. */
#define READ 1
#define WRITE 2

byte state[NODES], parent[NODES], kids[NODES], rights[NODES];
byte pins[NODES];		/* calls */
byte revokers[NODES];
byte refs[NODES];		/* others who know of the node: it is not reused */
bool told[NODES];		/* the object is: who waits in a call on it gives up */
byte trapping;			/* workers in trap context */
byte awaited[WORKERS + REVOKERS]; /* of those, whom somebody's barrier waits for */
bool steps;			/* a step of a revocation, and what belongs to it, is under way */

/* What only the properties look at. They do not believe the tree. */
byte above[NODES];		/* true ancestors */
byte doomed[NODES];		/* revocations that it was subject to */
byte using;			/* workers in a call */
byte usedAbove[WORKERS], usedDoomed[WORKERS];
byte begun, returned;		/* revocations */

/* Properties. What pan prints of one that fails begins with its name. */
byte monotone, revoked, finished, linked;
#define MUST(name, condition) assert(name || (condition))

/* Scratch of steps that nothing interrupts. */
hidden byte x, y, z, no;

/* Nobody knows of x: it can be used for another capability. */
inline collect(n) {
	if
	:: state[n] >= GONE && parent[n] == OUT && kids[n] == 0 && pins[n] + refs[n] + revokers[n] == 0 ->
		state[n] = FREE; parent[n] = 0; rights[n] = 0; told[n] = false; above[n] = 0; doomed[n] = 0;
		z = 0;
		do
		:: z < NODES -> above[z] = above[z] & ~BIT(n); z++
		:: else -> break
		od;
		z = 0;
		do
		:: z < WORKERS -> usedAbove[z] = usedAbove[z] & ~BIT(n); z++
		:: else -> break
		od
	:: else
	fi
}

/* Takes x out if it is a tombstone that nobody needs; then what stands above it. */
inline tidy(n) {
	x = n;
	do
	:: x < NODES && state[x] == GONE && parent[x] != OUT && pins[x] == 0 && revokers[x] == 0 && kids[x] <= 1 ->
		y = parent[x];
		parent[x] = OUT;
		if
		:: kids[x] == 1 ->
			z = 0;
			do
			:: state[z] == FREE || parent[z] != x -> z++
			:: else -> break
			od;
			parent[z] = y;
			kids[x] = 0;
			collect(x);
			x = NODES
		:: else ->
			if
			:: y < NODES -> kids[y]--
			:: else
			fi;
			collect(x);
			x = y
		fi
	:: else -> break
	od;
	collect(n)
}

/* no: what hangs from n, or from what stands above it, is being revoked. */
inline condemned(n) {
	x = n;
	do
	:: x < NODES && revokers[x] == 0 -> x = parent[x]
	:: else -> break
	od;
	no = (x < NODES)
}

/* A node for a new capability that hangs from p, if there is one. */
inline add(p, r, ghostAbove, ghostDoomed) {
	y = 0;
	do
	:: y < NODES && state[y] != FREE -> y++
	:: else -> break
	od;
	if
	:: y < NODES ->
		state[y] = LIVE; parent[y] = p; rights[y] = r; above[y] = ghostAbove; doomed[y] = ghostDoomed;
		if
		:: p < NODES -> kids[p]++
		:: else
		fi
	:: else
	fi
}

/* No capability has a right that the root has not, or that what it hangs from has not. */
inline sound() {
	z = 0;
	do
	:: z < NODES ->
		MUST(monotone, state[z] != LIVE || (rights[z] & ~READ) == 0);
		MUST(monotone, state[z] != LIVE || parent[z] >= NODES || (rights[z] & ~rights[parent[z]]) == 0);
		MUST(linked, state[z] == FREE || parent[z] >= NODES || state[parent[z]] != FREE);
		MUST(linked, state[z] != LIVE || parent[z] != OUT);
		z++
	:: else -> break
	od
}

inline pickDerived(n) {
	if
	:: state[1] == LIVE -> n = 1
	:: state[2] == LIVE -> n = 2
#if NODES > 3
	:: state[3] == LIVE -> n = 3
#endif
#if NODES > 4
	:: state[4] == LIVE -> n = 4
#endif
	fi
}

inline pick(n) {
	if
	:: state[0] == LIVE -> n = 0
	:: pickDerived(n)
	fi
}

inline enter(n) {
	using = using | BIT(_pid);
	usedAbove[_pid] = above[n];
	usedDoomed[_pid] = doomed[n]
}

/* The call has its effect. */
inline effect() {
	MUST(finished, !(using & BIT(_pid)) || (usedDoomed[_pid] & returned) == 0);
	using = using & ~BIT(_pid); usedAbove[_pid] = 0; usedDoomed[_pid] = 0
}

active [WORKERS] proctype Worker() {
	byte h, asked;

	do
	:: atomic {	/* Derive */
		pick(h);
		if
		:: asked = READ
#ifdef RIGHTS
		:: asked = 0
		:: asked = READ | WRITE
#endif
		fi;
		d_step {
			condemned(h);
			if
			:: !no && (asked & ~rights[h]) == 0 ->
				add(h, asked, above[h] | BIT(h), doomed[h]);
				MUST(monotone, y == NODES || (rights[y] & ~rights[h]) == 0)
			:: else
			fi;
			sound(); h = 0; asked = 0
		}
	   }
	:: atomic {	/* Copy; the root stays one */
		pickDerived(h);
		d_step {
			condemned(parent[h]);
			if
			:: !no ->
				add(parent[h], rights[h], above[h], doomed[h]);
				MUST(monotone, y == NODES || (rights[y] & ~rights[h]) == 0)
			:: else
			fi;
			sound(); h = 0
		}
	   }
	:: atomic {	/* it leaves the table; the root is somebody else's */
		pickDerived(h);
		state[h] = AWAY;
		refs[h]++;
		awaited[_pid] = trapping
	   };
	   awaited[_pid] == 0;	/* the barrier */
	   if
	   :: d_step {	/* it is in another, or that one again, unless it was revoked */
		if
		:: state[h] == AWAY -> state[h] = LIVE
		:: else
		fi;
		refs[h]--;
		collect(h);
		sound(); h = 0
	      }
	   :: d_step {	/* it is closed */
		told[h] = true;
		if
		:: state[h] == AWAY -> state[h] = GONE
		:: else
		fi;
		refs[h]--;
		tidy(h);
		sound(); h = 0
	      }
	   fi
	:: atomic {	/* a call: the record is good ... */
		pick(h);
		refs[h]++
	   };
	   pins[h]++;	/* ... the call is pinned ... */
	   if		/* ... and the record is still good */
	   :: atomic { state[h] == LIVE -> enter(h) };
	      if	/* what it does takes its time, or until the object is closed */
	      :: atomic { effect() }
	      :: skip ->
end:		 atomic { told[h] -> effect() }
	      fi
	   :: state[h] != LIVE
	   fi;
	   d_step {
		pins[h]--; refs[h]--;
		tidy(h);
		sound(); h = 0
	   }
	:: atomic {	/* a call in trap context: pinned to nothing, the barrier is for it */
		pick(h);
		trapping = trapping | BIT(_pid);
		enter(h); h = 0
	   };
	   d_step {
		effect();
		z = 0;
		do
		:: z < WORKERS + REVOKERS -> awaited[z] = awaited[z] & ~BIT(_pid); z++
		:: else -> break
		od;
		trapping = trapping & ~BIT(_pid)
	   }
	od
}

/* v: a lowest node that hangs from t, or NODES. */
inline lowest(t, v) {
	v = 0; no = true;
	do
	:: v < NODES && no ->
		x = (state[v] == FREE || v == t || kids[v] > 0 -> ROOT : parent[v]);
		do
		:: x < NODES && x != t -> x = parent[x]
		:: else -> break
		od;
		if
		:: x == t -> no = false
		:: else -> v++
		fi
	:: else -> break
	od
}

#define me (_pid - WORKERS)

active [REVOKERS] proctype Revoker() {
	byte t, v;
	bool done;

	atomic {	/* the handle is good; what hangs from it now is what Revoke is about */
		pick(t);
		d_step {
			refs[t]++;
			z = 0;
			do
			:: z < NODES ->
				if
				:: above[z] & BIT(t) -> doomed[z] = doomed[z] | BIT(me)
				:: else
				fi;
				z++
			:: else -> break
			od;
			z = 0;
			do
			:: z < WORKERS ->
				if
				:: usedAbove[z] & BIT(t) -> usedDoomed[z] = usedDoomed[z] | BIT(me)
				:: else
				fi;
				z++
			:: else -> break
			od;
			begun = begun | BIT(me)
		}
	};
	d_step {
		if
		:: state[t] == GONE ->	/* BadHandle: it was closed meanwhile, and nothing is said */
			done = true;
			z = 0;
			do
			:: z < NODES -> doomed[z] = doomed[z] & ~BIT(me); z++
			:: else -> break
			od;
			z = 0;
			do
			:: z < WORKERS -> usedDoomed[z] = usedDoomed[z] & ~BIT(me); z++
			:: else -> break
			od
		:: else -> revokers[t]++
		fi;
		z = 0
	};
	if
	:: done -> d_step { refs[t]--; collect(t); returned = returned | BIT(me) }
	:: !done ->
		do
		:: atomic { !steps -> steps = true };
		   d_step {	/* a step: 32 nodes in the kernel, one here */
			lowest(t, v);
			if
			:: v < NODES ->
				if
				:: state[v] == LIVE || state[v] == AWAY -> state[v] = DEAD
				:: else
				fi;
				kids[parent[v]]--;
				parent[v] = OUT;
				refs[v]++
			:: else
			fi;
			done = (kids[t] == 0);
			sound()
		   };
		   if
		   :: v < NODES ->
			awaited[_pid] = trapping;
			awaited[_pid] == 0;	/* the barrier */
			told[v] = true;
			pins[v] == 0;	/* the drain: see pin.pml */
			d_step { refs[v]--; collect(v); v = 0 }
		   :: else
		   fi;
		   steps = false;
		   if
		   :: done -> break
		   :: else
		   fi
		od;
		skip;
		d_step {
			revokers[t]--; refs[t]--;
			tidy(t);
			returned = returned | BIT(me);
			z = 0;
			do
			:: z < NODES -> MUST(revoked, state[z] != LIVE || (doomed[z] & BIT(me)) == 0); z++
			:: else -> break
			od;
			z = 0;
			do
			:: z < WORKERS -> MUST(finished, !(using & BIT(z)) || (usedDoomed[z] & BIT(me)) == 0); z++
			:: else -> break
			od;
			sound(); t = 0; v = 0; done = false
		}
	fi
}

init {
	d_step { state[0] = LIVE; parent[0] = ROOT; rights[0] = READ }
}

ltl terminates { [] ((begun & 1) -> <> (returned & 1)) }

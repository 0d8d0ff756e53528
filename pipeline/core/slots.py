"""
The only place for the life of a slot: admitted, answered, open, flat (architecture 2.5).

A slot is freed only by decide's ``declined`` or by flat, never by a timer. An admission that nobody answered is asked
again under its own id; an expired one can only be declined.
"""

from __future__ import annotations

from typing import Final

from pipeline.core.account_state import AccountRules, AccountState, Slot, Stage, bounded
from pipeline.core.account_words import AccountOutput, AdmissionEnded, AlertWanted, PositionSeen, TradeSeen
from pipeline.core.units import Milliseconds

ADMISSION_LIFE_MS: Final = 2_000  # domain section 5: an entry that comes later is another entry
ASK_AGAIN_MS: Final = 5_000  # after an admission's expiry, and between two questions


def end_admission(state: AccountState, ended: AdmissionEnded) -> None:
    """
    Used: the slot is a position. Declined: it is free, unless decide has reported another position open on the symbol;
    one declined under its own name is over, whatever was reported of it before.
    """
    slot = state.slots.get(ended.symbol)
    if slot is None or slot.entry is None or slot.entry.admission != ended.admission:
        return  # an answer that came again, or of a slot that is gone
    if ended.used:
        slot.stage, slot.position = Stage.OPEN, ended.position
    elif slot.report is None or not slot.report.lots or slot.position == ended.position:
        del state.slots[ended.symbol]
        admitted_ms = Milliseconds(slot.entry.expires_ms - ADMISSION_LIFE_MS)
        if admitted_ms in state.entry_times:
            state.entry_times.remove(admitted_ms)  # an entry that never came does not count against the minute


def see_position(state: AccountState, seen: PositionSeen, rules: AccountRules, outputs: list[AccountOutput]) -> None:
    """
    Decide reports a position; one that nobody admitted takes a slot all the same.

    What the line that ended a position said of it before is said again after a crash of decide: it is flat by then.
    """
    if seen.place == state.traded.get(seen.symbol):
        return
    slot = state.slots.get(seen.symbol)
    if slot is None:
        if not seen.report.lots:
            return  # a last word about a position that is flat
        slot = state.slots[seen.symbol] = Slot(seen.symbol, Stage.OPEN, None)
        if len(state.slots) > rules.slots:
            text = f"{seen.symbol} has a position beyond the {rules.slots} slots: entries are closed until one is flat"
            outputs.append(AlertWanted(seen.symbol, "beyond_slots", "warning", text))
    slot.stage, slot.position, slot.report = Stage.OPEN, seen.report.position, seen.report
    slot.reported_ms = state.log_ms


def see_trade(state: AccountState, seen: TradeSeen) -> bool:
    """Flat: the slot is free. False when this line has ended its position before (one line can end at most one)."""
    if seen.place == state.traded.get(seen.symbol):
        return False
    state.traded[seen.symbol] = seen.place
    state.trades += 1
    state.realised = bounded(state.realised + seen.trade.realised)
    state.fees = bounded(state.fees + seen.trade.fees)
    slot = state.slots.get(seen.symbol)
    if slot is not None and slot.position in ("", seen.trade.position):
        del state.slots[seen.symbol]
    return True


def unanswered(state: AccountState, outputs: list[AccountOutput]) -> list[Slot]:
    """Slots whose expired admission must be asked again: decide can only decline it, and its word frees the slot."""
    found: list[Slot] = []
    for slot in state.slots.values():
        if slot.stage is Stage.PENDING and state.log_ms - slot.asked_ms >= ASK_AGAIN_MS:
            assert slot.entry is not None
            if slot.asked_ms == slot.entry.expires_ms:
                text = f"decide has not answered the entry {slot.entry.admission} on {slot.symbol}: asking again"
                outputs.append(AlertWanted(slot.symbol, "admission_unanswered", "warning", text))
            slot.asked_ms = state.log_ms
            found.append(slot)
    return found

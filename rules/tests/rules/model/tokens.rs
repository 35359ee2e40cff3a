//! Tokens of language models: what they cost counts beside them, and its limits stop them too.

use metergate_rules::outcome::Reason;

use super::{Answer, Done, Kind, Model, Verdict};
use crate::kit::{COST, TOKENS};

/// What a token costs that has a price.
pub(crate) const PRICE: i64 = 2;

impl Model {
    fn with_cost(&self, n: i64, is_known: bool, time: i64, kind: Kind) -> [Done; 2] {
        let cost = if is_known { n * PRICE } else { 0 };
        [self.done(TOKENS, n, time, kind), Done { follows: true, ..self.done(COST, cost, time, kind) }]
    }

    /// A decision: no tokens without their cost, and neither where a limit of either stands in the way. A plan need not name
    /// what tokens cost.
    pub(super) fn tokens(&mut self, n: i64, is_known: bool) -> Answer {
        let [tokens, cost] = self.with_cost(n, is_known, self.now, Kind::Decision);
        let (mut verdict, of_cost) = (self.weigh(&tokens), self.weigh(&cost));
        let is_exceeded = of_cost.limits.iter().any(|limit| limit.violated);
        self.reach("tokens refused for what they cost", verdict.reason.is_none() && is_exceeded);
        verdict.reason = verdict.reason.or(is_exceeded.then_some(Reason::QuotaExceeded));
        self.reach("tokens without a price", !is_known);
        if verdict.reason.is_some() {
            self.tell(Vec::new());
            let cost = Some((0, of_cost.limits));
            return Answer::Decided(vec![Verdict { overage: 0, cost, ..verdict }]);
        }
        let draws = |done: Done| Done { gave: self.draw(done.meter, self.credit_taken(&done)), ..done };
        let done: Vec<Done> = [tokens, cost].into_iter().map(draws).collect();
        self.reach("what tokens cost comes from credit", !done[1].gave.is_empty());
        self.tell(done);
        let (limits, cost) = (self.all_shown(TOKENS), Some((of_cost.overage, self.all_shown(COST))));
        Answer::Decided(vec![Verdict { limits, cost, ..verdict }])
    }

    /// The same as what has happened.
    pub(super) fn tokens_of(&mut self, n: i64, is_known: bool, after: i64) -> Answer {
        let both = self.with_cost(n, is_known, self.now + after, Kind::Fact);
        let begin = self.done.len();
        let overages = both.map(|done| self.fact(done));
        let told = self.done.split_off(begin);
        self.tell(told);
        self.reach("tokens cost more than a limit has", overages[1] > 0);
        Answer::Recorded { overage: overages[0].max(overages[1]) }
    }
}

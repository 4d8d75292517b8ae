"""The books of this replica, as its settings have them: shared by Redis, or its own."""

import asyncio
from collections.abc import Iterable

import redis.asyncio
from opentelemetry import metrics

from services.gemini_proxy.accounts.books import Books
from services.gemini_proxy.accounts.failover import FailoverBooks
from services.gemini_proxy.accounts.ledger import Ledger
from services.gemini_proxy.accounts.local_books import LocalBooks
from services.gemini_proxy.accounts.redis_books import RedisBooks, connect
from services.gemini_proxy.accounts.settings import BooksSettings, Budget, ModelLimits, TenantBudgets
from services.gemini_proxy.accounts.spool import Spool
from services.gemini_proxy.config import BudgetSettings, GeminiSettings
from services.runtime.config import BadSetting
from services.runtime.errors import FailedPrecondition

ANYONE = "*"


class Bookkeeping:
    """Opens the books and closes them. `run` tends them. Raises BadSetting where the spool cannot be had."""

    def __init__(self, settings: GeminiSettings) -> None:
        self._settings = books_settings(settings)
        self._spool: Spool | None = None
        self._client: redis.asyncio.Redis | None = None
        self._failover: FailoverBooks | None = None
        self.books: Books = LocalBooks(self._settings, None)
        self.ledger: Ledger | None = None
        """None where there is no Redis to keep it."""
        if settings.redis_url is not None:
            self._client = connect(settings.redis_url.get_secret_value(), timeout_s=settings.books_timeout_s)
            self._spool = _open_spool(self._settings)
            shared_books, local_books = (
                RedisBooks(self._client, self._settings),
                LocalBooks(self._settings, self._spool),
            )
            self._failover = FailoverBooks(shared_books, local_books, self._spool, probe_s=self._settings.probe_s)
            self.books = self._failover
            self.ledger = Ledger(self._client, self._settings)
        metrics.get_meter("chiasm.gemini_proxy").create_observable_gauge(
            "chiasm.gemini.books.shared",
            [self._observe],
            description="1 while limits, budgets and the ledger are shared; 0 while this replica keeps to its share.",
        )

    @property
    def shared(self) -> bool:
        """Whether the books are shared now."""
        return self._failover is not None and self._failover.shared

    async def run(self) -> None:
        """For ever."""
        if self._failover is not None:
            await self._failover.run()
        await asyncio.Event().wait()

    async def close(self) -> None:
        if self._spool is not None:
            await self._spool.close()
        if self._client is not None:
            await self._client.aclose()

    def _observe(self, options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        yield metrics.Observation(int(self.shared))


def _open_spool(settings: BooksSettings) -> Spool:
    try:
        settings.spool_path.parent.mkdir(parents=True, exist_ok=True)
        return Spool(settings.spool_path, max_bytes=settings.spool_max_bytes)
    except (OSError, FailedPrecondition) as error:
        raise BadSetting("spool_file", str(error)) from error


def books_settings(settings: GeminiSettings) -> BooksSettings:
    budgets = {budget.tenant: _tenant_budgets(budget) for budget in settings.budgets}
    return BooksSettings(
        limits={
            member.name: tuple(ModelLimits(pattern, limits.to_limits()) for pattern, limits in member.limits.items())
            for member in settings.pool
        },
        budgets=budgets,
        default_budgets=budgets.pop(ANYONE, TenantBudgets()),
        lease_s=settings.lease_s,
        retention_days=settings.ledger_days,
        local_share=settings.local_share,
        spool_path=settings.spool_file,
    )


def _tenant_budgets(budget: BudgetSettings) -> TenantBudgets:
    def of(limit: int | None) -> Budget | None:
        return Budget(limit, budget.hard) if limit is not None else None

    return TenantBudgets(day=of(budget.day_nanousd), month=of(budget.month_nanousd))

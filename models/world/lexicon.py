"""The words that are written in the tiny world."""

# fmt: off
WORDS = (
    "Amber", "Anvil", "Apple", "Beach", "Bread", "Cabin", "Candle", "Cedar", "Clock", "Cloud", "Copper", "Coral",
    "Desert", "Eagle", "Ember", "Fable", "Field", "Flute", "Forest", "Ginger", "Globe", "Harbor", "Honey", "Ivory",
    "Jacket", "Kettle", "Lemon", "Lunar", "Maple", "Meadow", "Mirror", "Motor", "Ocean", "Olive", "Orbit", "Paper",
    "Pearl", "Pilot", "Quartz", "Rain", "River", "Salt", "Silver", "Summit", "Tiger", "Timber", "Valley", "Willow",
)
MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)

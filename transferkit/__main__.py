from transferkit.commands import main

main()
